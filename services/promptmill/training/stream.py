"""A stream of training rows that follows the table of records while it grows."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa

from promptmill.export.export import OWN
from promptmill.export.formats import FORMATS, Row
from promptmill.export.selection import Selection, SqlCondition
from promptmill.lake.ports import TableName
from promptmill.lake.reader import DeltaReader
from promptmill.runtime.errors import Misconfigured
from promptmill.training.following import Following
from promptmill.training.position import (
    STATE_VERSION,
    Cursor,
    Next,
    StreamState,
    check_state,
    own_shards,
    positions_in,
)
from promptmill.training.source import StreamSource
from promptmill.training.staleness import Revisions
from promptmill.training.weights import Weight


def stream(  # noqa: PLR0913 - options are arguments, each with a default
    store: str,
    *,
    format: str = OWN,  # noqa: A002 - the word that trainers' users look for
    run: str | None = None,
    where: str | None = None,
    start: str | int = "beginning",
    follow: bool = True,
    limit: int | None = None,
    idle_s: float | None = None,
    until_settled: bool = False,
    max_staleness: int | None = None,
    weight: Weight | None = None,
    rank: int = 0,
    world_size: int = 1,
) -> RecordStream:
    """Open a stream of training rows; the table may grow while it is read.

    Args:
        store: folder or URI of the tables, as in ``PROMPTMILL_STORE``.
        format: a name from ``promptmill export --formats``; by default records as they are in the
            table.
        run: read only records of this run.
        where: read only records that fulfil this SQL expression over the columns of the table.
        start: ``beginning``, ``now``, or a version of the table, after which the stream begins.
        follow: wait for further records at the end of the table.
        limit: end after this number of rows per rank, or per worker if a rank has workers.
        idle_s: end after this many seconds without new records.
        until_settled: end when every stored prompt of ``run`` has an outcome.
        max_staleness: skip records whose generator is more than this many revisions behind the
            newest one.
        weight: how often a record is delivered; see :mod:`promptmill.training.weights`.
        rank: the number of this process, from 0.
        world_size: the number of processes that share the stream; each record goes to one of them.

    Raises:
        Misconfigured: an argument is wrong, there is no table of records yet, or there are more
            processes than partitions.
        Unavailable: the store does not answer.
    """
    _check(limit=limit, idle_s=idle_s, max_staleness=max_staleness)
    if until_settled and run is None:
        raise Misconfigured("until_settled needs a run; name the run to wait for")
    kinds = _kinds(format)
    snapshot = Selection().open(store)
    if where is not None:
        with SqlCondition(where, snapshot.schema):
            pass  # opened to check the expression
    partitions = snapshot.partitions
    source = StreamSource(
        store=store,
        table_id=snapshot.table_id,
        schema=snapshot.schema,
        origin=_origin(store, start, partitions),
        selection=Selection(run, kinds, where),
        trainer=format,
        weight=weight,
        max_staleness=max_staleness,
        following=Following(follow, idle_s, run if until_settled else None),
        limit=limit,
    )
    return RecordStream(source, own_shards(range(partitions), rank, world_size))


class RecordStream:
    """An iterable of the rows of some shards, which :func:`stream` opens.

    Each pass begins at the same row: at the start of the stream, or at the state that was loaded.
    :meth:`state_dict` returns the position of the latest pass.
    """

    def __init__(self, source: StreamSource, shards: Sequence[int]) -> None:
        self._source = source
        self.shards = tuple(shards)
        self._begin = {shard: Next(source.origin[shard]) for shard in shards}
        self._revisions: Mapping[str, str] = {}
        self._cursor = self._new_cursor()
        self._pid = os.getpid()

    def __iter__(self) -> Iterator[Row]:
        if os.getpid() != self._pid:
            raise Misconfigured(
                "this stream was opened before the process was forked, and the store's library "
                "does not work in a forked process; start workers with "
                "multiprocessing_context='spawn' or 'forkserver'"
            )
        self._cursor = self._new_cursor()
        return self._source.rows(self._cursor)

    def windows(self, columns: Sequence[str], on_pause: Callable[[], None]) -> Iterator[pa.Table]:
        """Yield windows of records; see ``windows`` of the stream's source."""
        self._cursor = self._new_cursor()
        return self._source.windows(self._cursor, columns, on_pause)

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_pid": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state | {"_pid": os.getpid()})

    def part(self, reader: int, readers: int) -> RecordStream:
        """Return the stream of one of several readers among whom the shards are divided.

        Raises:
            Misconfigured: there are more readers than shards.
        """
        return self.of(own_shards(self.shards, reader, readers))

    def of(self, shards: Sequence[int]) -> RecordStream:
        """Return the stream of some of the shards, from the same position."""
        found = RecordStream(self._source, shards)
        found._begin = {shard: self._begin[shard] for shard in shards}
        found._revisions = self._revisions
        found._cursor = found._new_cursor()
        found._pid = self._pid
        return found

    @property
    def schema(self) -> pa.Schema:
        """The columns of a row."""
        return self._source.row_schema()

    def dataset(self) -> Any:
        """Return the stream as a ``datasets.IterableDataset``, for TRL and transformers.

        Raises:
            Misconfigured: ``datasets`` is not installed.
        """
        try:
            from promptmill.training.hugging_face import iterable_dataset
        except ModuleNotFoundError as error:
            raise _missing("datasets", error) from error
        return iterable_dataset(self)

    def torch(self) -> Any:
        """Return the stream as an ``IterableDataset`` of torch, for its data loaders.

        Raises:
            Misconfigured: ``torch`` is not installed.
        """
        try:
            from promptmill.training.torch_dataset import TorchStream
        except ModuleNotFoundError as error:
            raise _missing("torch", error) from error
        return TorchStream(self)

    def state_dict(self) -> StreamState:
        """Return the position after the last row of the latest pass, as plain JSON."""
        positions = self._cursor.positions.items()
        return StreamState(
            version=STATE_VERSION,
            table=self._source.table_id,
            shards={str(shard): list(at) for shard, at in positions},
            revisions=self._cursor.revisions.as_json(),
        )

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Let the next pass begin at a position that :meth:`state_dict` or
        :func:`promptmill.training.merge_states` returned.

        Raises:
            Misconfigured: the state belongs to another table, or lacks a shard of this stream.
        """
        check_state(state, self._source.table_id)
        self._begin = positions_in(state, self.shards)
        self._revisions = dict(state["revisions"])
        self._cursor = self._new_cursor()

    def _new_cursor(self) -> Cursor:
        return Cursor(self._begin, Revisions(self._revisions, self._source.max_staleness))


def _missing(package: str, error: ModuleNotFoundError) -> Misconfigured:
    return Misconfigured(f"{error}; install {package} as well")


def _check(**numbers: float | None) -> None:
    for name, value in numbers.items():
        if value is not None and value < 0:
            raise Misconfigured(f"{name} is {value}; give a number of at least 0, or None")


def _kinds(name: str) -> tuple[str, ...]:
    """Return the kinds of records that have rows in this format."""
    if name != OWN and name not in FORMATS:
        raise Misconfigured(
            f"format {name!r} does not exist; choose from {OWN}, {', '.join(FORMATS)}"
        )
    return () if name == OWN else FORMATS[name].kinds


def _origin(store: str, start: str | int, partitions: int) -> dict[int, int]:
    """Return the offset of each shard at which the stream begins."""
    if isinstance(start, int):
        known = Selection(version=start).open(store).next_offsets()
        return {shard: known.get(shard, 0) for shard in range(partitions)}
    if start == "beginning":
        return dict.fromkeys(range(partitions), 0)
    if start == "now":
        return DeltaReader(store).present(TableName.RECORDS, range(partitions))[0]
    raise Misconfigured(
        f"start is {start!r}; choose 'beginning', 'now' or the version of the table"
    )
