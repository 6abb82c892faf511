"""A handle on one Delta table, which converts the library's errors to promptmill's."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeAlias, cast

from deltalake import CommitProperties, DeltaTable, QueryBuilder
from deltalake.exceptions import DeltaError, DeltaProtocolError, SchemaMismatchError

from promptmill.lake.object_store import check_options
from promptmill.runtime.errors import Misconfigured, Unavailable

if TYPE_CHECKING:  # its import takes 60 MiB, and commands that only count do not need it
    import pyarrow as pa
    from arro3.core import RecordBatchReader
    from pyarrow.dataset import Expression

REOPEN_EVERY = 50
"""The commits after which a handle is reopened, because it becomes slower with each of them."""

QUERY_THREADS = 2

_COLOUR: Final = re.compile(r"\x1b\[[0-9;]*m")

GROUP_ROWS = 262_144
"""The rows in one batch of narrow columns, so that work per shard is done rarely."""

CONFLICT_TRIES = 20
"""The number of attempts at a commit while other writers are faster."""

StorageOptions: TypeAlias = Mapping[str, str] | None


@dataclass(frozen=True, slots=True)
class TableSettings:
    """The settings of tables.

    Attributes:
        checkpoint_every: commits between two checkpoints of the log.
        log_retention: how long older versions of a table can be read. A commit lists the
            log's folder: on a local disk about 20 ms more for every 1,000 commits.
        tombstone_retention: how long the log remembers files that were compacted away.
        compression_level: the level of zstd; 1 halves the default's size at the same speed.
    """

    checkpoint_every: int = 50
    log_retention: str = "interval 30 days"
    tombstone_retention: str = "interval 2 hours"
    compression_level: int = 1

    def as_properties(self) -> dict[str, str]:
        """Return the table properties of the Delta protocol."""
        return {
            "delta.checkpointInterval": str(self.checkpoint_every),
            "delta.logRetentionDuration": self.log_retention,
            "delta.deletedFileRetentionDuration": self.tombstone_retention,
            "delta.dataSkippingStatsColumns": "run,created_at,shard,shard_offset,prompt_id",
            "delta.enableDeletionVectors": "false",
        }


@contextmanager
def translated(uri: str) -> Iterator[None]:
    """Translate the library's errors into promptmill's errors."""
    try:
        yield
    except (SchemaMismatchError, DeltaProtocolError) as error:
        raise Misconfigured(
            f"{uri} was written by another program or version: {said_by(error)}; use the version "
            "of promptmill that created it, or set PROMPTMILL_STORE to a new folder"
        ) from error
    except (DeltaError, OSError) as error:
        raise Unavailable(f"{uri} cannot be reached or written: {said_by(error)}") from error


def said_by(error: Exception) -> str:
    """Return the library's message as one line; it marks each cause with a coloured arrow."""
    words = _COLOUR.sub("", str(error)).split()
    return " ".join(words).replace(" ↳ ", ": ")


class TableHandle:
    """One table; the library's own handle is opened at first use and replaced from time to time.

    Args:
        uri: URI of the table.
        storage_options: options for an object store; the environment may have others.

    Raises:
        Misconfigured: the options are unsafe; see :func:`check_options`.
    """

    def __init__(self, uri: str, storage_options: StorageOptions = None) -> None:
        check_options(uri, storage_options, os.environ)
        self.uri = uri
        self._options = None if storage_options is None else dict(storage_options)
        self._table: DeltaTable | None = None
        self._uses = 0

    def exists(self) -> bool:
        """Return whether the table exists."""
        with translated(self.uri):
            return DeltaTable.is_deltatable(self.uri, self._options)

    def create(
        self,
        schema: pa.Schema,
        properties: Mapping[str, str],
        partition_columns: Sequence[str] = (),
    ) -> None:
        """Create the table; if several processes try at the same time, one of them succeeds.

        There are no retries, because the library would append its first entry after another's.
        """
        try:
            DeltaTable.create(
                self.uri,
                schema,
                partition_by=list(partition_columns),
                configuration=properties,
                storage_options=self._options,
                commit_properties=CommitProperties(max_commit_retries=0),
                raise_if_key_not_exists=False,
            )
        except DeltaError:
            if not self.exists():
                with translated(self.uri):
                    raise

    def latest(self) -> DeltaTable:
        """Return the table at its latest version."""
        if self._table is not None and self._uses < REOPEN_EVERY:
            self._uses += 1
            try:
                self._table.update_incremental()
            except DeltaError:  # the log no longer has the next entry that this handle needs
                self.forget()
            else:
                return self._table
        self._table, self._uses = self.open(), 0
        return self._table

    def forget(self) -> None:
        """Open the table again at the next call, because its state is uncertain after an error."""
        self._table = None

    def open(self, version: int | None = None) -> DeltaTable:
        """Return a separate handle at one version, which later calls do not change.

        Args:
            version: ``None`` opens the latest one.

        Raises:
            Misconfigured: the table has no such version, or the log no longer holds it.
        """
        if version is None:
            with translated(self.uri):
                return DeltaTable(self.uri, storage_options=self._options)
        latest = self.open().version()
        if version > latest:
            raise Misconfigured(
                f"{self.uri} has no version {version}; the latest is {latest}; choose that or an "
                "earlier one"
            )
        try:
            return DeltaTable(self.uri, version=version, storage_options=self._options)
        except (DeltaError, OSError) as error:
            raise Misconfigured(
                f"{self.uri} cannot be opened at version {version}: {said_by(error)}; the log "
                f"keeps versions for a limited time; choose a later version, up to {latest}"
            ) from error


def texts(table: DeltaTable, query: str) -> Iterator[list[str]]:
    """Yield the first column of an SQL query's result in batches; ``stored`` is the table.

    Unlike :func:`scan`, it does not need pyarrow, and it holds less than 80 MiB for any table.

    Raises:
        Unavailable: the storage does not answer, or a file is missing.
    """
    uri = table.table_uri
    with translated(uri):
        batches = _query(table, query)
    while True:
        try:
            batch = next(batches, None)
        except Exception as error:  # the library does not raise a more specific error here
            raise Unavailable(f"{uri} cannot be read: {error}") from error
        if batch is None:
            return
        yield cast("list[str]", batch.column(0).to_pylist())


def rows_of_shards(
    table: DeltaTable, columns: Sequence[str], shards: Collection[int]
) -> Iterator[pa.RecordBatch]:
    """Yield these columns of all rows of some shards, in any order.

    For a few columns of all rows, it takes two fifths of the processor time of :func:`scan`, and
    a third for small files.

    Raises:
        Unavailable: the storage does not answer, or a file is missing.
    """
    import pyarrow as pa

    if not shards:
        return
    first, last = min(shards), max(shards)
    condition = f"shard BETWEEN {first} AND {last}"  # files are skipped by their statistics
    if len(set(shards)) <= last - first:
        condition += f" AND shard IN ({', '.join(map(str, sorted(shards)))})"
    query = f"SELECT {', '.join(columns)} FROM stored WHERE {condition}"  # noqa: S608
    uri = table.table_uri
    with translated(uri):
        found = pa.RecordBatchReader.from_stream(_query(table, query))
    # The engine returns texts as views, which few functions of pyarrow support.
    kinds = [pa.string() if pa.types.is_string_view(c.type) else c.type for c in found.schema]
    groups = _in_groups(found)
    while True:
        try:
            group = next(groups, None)
        except (pa.ArrowException, OSError) as error:
            raise Unavailable(f"{uri} cannot be read: {said_by(error)}") from error
        if group is None:
            return
        batch = pa.concat_batches(group)
        plain = [column.cast(kind) for column, kind in zip(batch.columns, kinds, strict=True)]
        yield pa.RecordBatch.from_arrays(plain, names=list(columns))


def _in_groups(batches: Iterable[pa.RecordBatch]) -> Iterator[list[pa.RecordBatch]]:
    """Yield groups of at least :data:`GROUP_ROWS` rows, except for the last one."""
    group: list[pa.RecordBatch] = []
    rows = 0
    for batch in batches:
        group.append(batch)
        rows += len(batch)
        if rows >= GROUP_ROWS:
            yield group
            group, rows = [], 0
    if group:
        yield group


def _query(table: DeltaTable, query: str) -> RecordBatchReader:
    """Begin a query in SQL; ``stored`` is the table."""
    engine = QueryBuilder().register("stored", table)
    # Each thread holds a row group, so memory would grow with the machine's cores.
    engine.execute(f"SET datafusion.execution.target_partitions = {QUERY_THREADS}").read_all()
    return engine.execute(query)


def scan(
    table: DeltaTable, columns: Sequence[str] | None, condition: Expression | None
) -> Iterator[pa.RecordBatch]:
    """Yield rows as record batches with these columns and under this condition, in no order."""
    with translated(table.table_uri):
        scanner = table.to_pyarrow_dataset().scanner(
            columns=None if columns is None else list(columns), filter=condition
        )
        yield from scanner.to_batches()
