"""The application transactions of a table, which store the owner and position of each shard."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from io import BytesIO
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

import orjson
from deltalake import CommitProperties, DeltaTable, Transaction

from promptmill.lake.ports import COUNTED
from promptmill.lake.table import StorageOptions

MANY_IDS = 16
"""The number of ids from which they are read together."""


def position_id(topic: str, shard: int) -> str:
    """Return the application id under which a table keeps the next offset of a shard."""
    return f"promptmill/{topic}-{shard}"


def epoch_id(topic: str, shard: int) -> str:
    """Return the application id under which a table counts the owners of a shard."""
    return f"{position_id(topic, shard)}/epoch"


def last_id(topic: str, shard: int) -> str:
    """Return the application id under which a table identifies the last message of a shard."""
    return f"{position_id(topic, shard)}/last"


def count_id(topic: str, shard: int, run: str) -> str:
    """Return the application id under which a table counts a run's prompts in a shard."""
    return f"{position_id(topic, shard)}/run/{run}"


class Entry(NamedTuple):
    """A shard in one table.

    Attributes:
        epoch: the number of owners so far.
        position: the next offset; ``None`` before the first commit.
    """

    epoch: int
    position: int | None


class AppTransactions:
    """The numbers in a table's application transactions at the last version that was read.

    The library takes about 1 ms for each application id, because it reads the end of the log every
    time. Each id is therefore read once, or many of them together (:meth:`load`). Afterwards the
    log entries of later commits are read, which takes about 0.2 ms each for any number of shards.
    This writer knows its own commits.
    """

    def __init__(self, topic: str, storage_options: StorageOptions = None) -> None:
        self._topic = topic
        self._options = None if storage_options is None else dict(storage_options)
        self._table_id: str | None = None
        self._version = 0
        self._numbers: dict[str, int | None] = {}

    def load(self, table: DeltaTable, shards: Collection[int]) -> None:
        """Read the numbers of these shards together, which is faster for more than a few shards.

        It loads pyarrow. Counts by run are not read. If the log has an unusual form, nothing is
        read.
        """
        self._follow(table)
        wanted = {app for shard in shards for app in self._apps(shard)} - self._numbers.keys()
        if len(wanted) >= MANY_IDS:
            found = _numbers_at(table, self._options)
            if found is not None:
                self._numbers |= {app: found.get(app) for app in wanted}

    def _apps(self, shard: int) -> tuple[str, ...]:
        names = (position_id, epoch_id, last_id)
        ids = (name(self._topic, shard) for name in names)
        return (*ids, count_id(self._topic, shard, COUNTED))

    def entry(self, table: DeltaTable, shard: int) -> Entry:
        """Return the shard's entry in this version of the table."""
        self._follow(table)
        epoch = self._number(table, epoch_id(self._topic, shard))
        return Entry(epoch or 0, self._number(table, position_id(self._topic, shard)))

    def position(self, table: DeltaTable, shard: int) -> int | None:
        """Return the shard's next offset in this version; ``None`` before the first commit."""
        self._follow(table)
        return self._number(table, position_id(self._topic, shard))

    def last_message(self, table: DeltaTable, shard: int) -> int | None:
        """Return the number that identifies the message before the position."""
        self._follow(table)
        return self._number(table, last_id(self._topic, shard))

    def count(self, table: DeltaTable, shard: int, run: str) -> int | None:
        """Return the number of the run's prompts in a shard; ``None`` if it is not counted."""
        self._follow(table)
        found = self._number(table, count_id(self._topic, shard, run))
        return 0 if found is None and self.is_counted(table, shard) else found

    def is_counted(self, table: DeltaTable, shard: int) -> bool:
        """Return whether the shard has no rows, or all of them are counted by run."""
        self._follow(table)
        if self._number(table, position_id(self._topic, shard)) is None:
            return True
        return self._number(table, count_id(self._topic, shard, COUNTED)) is not None

    def _number(self, table: DeltaTable, app: str) -> int | None:
        if app not in self._numbers:
            self._numbers[app] = self._ask(table, app)
        return self._numbers[app]

    def _ask(self, table: DeltaTable, app: str) -> int | None:
        number: int | None = table.transaction_version(app)
        return number

    def _follow(self, table: DeltaTable) -> None:
        """Read the later commits; forget everything if they cannot be read."""
        table_id, version = str(table.metadata().id), table.version()
        if (table_id, version) == (self._table_id, self._version):
            return
        since = self._since(table) if table_id == self._table_id else None
        self._numbers = {} if since is None else {**self._numbers, **since}
        self._table_id, self._version = table_id, version

    def _since(self, table: DeltaTable) -> dict[str, int] | None:
        """Return the numbers of later commits; ``None`` if asking for each id is faster."""
        missed = range(self._version + 1, table.version() + 1)
        if not 0 < len(missed) <= len(self._numbers):
            return None
        try:
            return _committed(table, self._options, missed)
        except (FileNotFoundError, ValueError):  # cleaned up; the library reports damage
            return None

    def numbers(
        self,
        epochs: Mapping[int, int],
        positions: Mapping[int, int],
        last_messages: Mapping[int, int],
        counts: Mapping[tuple[int, str], int],
    ) -> dict[str, int]:
        """Return the numbers of epochs, positions, last messages and counts, by application id.

        Counts that the table is known to have already are left out. The others are repeated, as
        a commit of another owner has to conflict with them.
        """
        numbers = {epoch_id(self._topic, shard): number for shard, number in epochs.items()}
        numbers |= {position_id(self._topic, shard): at for shard, at in positions.items()}
        numbers |= {last_id(self._topic, s): last for s, last in last_messages.items()}
        counted = {count_id(self._topic, s, run): n for (s, run), n in counts.items()}
        return numbers | {app: n for app, n in counted.items() if self._numbers.get(app) != n}

    def note_commit(self, table: DeltaTable, before: int, numbers: Mapping[str, int]) -> None:
        """Record this writer's commit of these numbers on top of version ``before``.

        If there were other commits in between, the next call reads all of them.
        """
        if (self._version, table.version()) == (before, before + 1):
            self._version = before + 1
            self._numbers.update(numbers)

    def forget(self) -> None:
        """Read all ids again at the next call."""
        self._table_id = None


def properties_of(numbers: Mapping[str, int]) -> CommitProperties:
    """Return the properties of a commit that sets these numbers by application id."""
    return CommitProperties(
        app_transactions=[Transaction(app, number, None) for app, number in numbers.items()]
    )


def _committed(
    table: DeltaTable, options: dict[str, str] | None, versions: Iterable[int]
) -> dict[str, int]:
    """Return the numbers by application id that these versions have set.

    Raises:
        FileNotFoundError: the log no longer has one of them.
    """
    numbers: dict[str, int] = {}
    for entry in log_entries(table.table_uri, options, versions):
        for line in entry.splitlines():
            if b'"txn"' in line and (transaction := orjson.loads(line).get("txn")):
                numbers[transaction["appId"]] = transaction["version"]
    return numbers


def _numbers_at(table: DeltaTable, options: dict[str, str] | None) -> dict[str, int] | None:
    """Return all numbers by application id; ``None`` if the log has another form than expected.

    They are those of the last checkpoint and of the commits since.
    """
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    try:
        last = orjson.loads(next(log_files(table.table_uri, options, ["_last_checkpoint"])))
        if "parts" in last or not (since := last["version"]) <= table.version():
            return None
        name = f"{since:020}.checkpoint.parquet"
        checkpoint = BytesIO(next(log_files(table.table_uri, options, [name])))
        columns = ["txn.appId", "txn.version"]
        of_checkpoint = pq.ParquetFile(checkpoint).read(columns).column("txn").drop_null()
        apps, versions = (pc.struct_field(of_checkpoint, n) for n in ("appId", "version"))
        numbers = dict(zip(apps.to_pylist(), versions.to_pylist(), strict=True))
        commits = range(since + 1, table.version() + 1)
        return numbers | _committed(table, options, commits)
    except (FileNotFoundError, ValueError, KeyError, pa.ArrowException):
        return None  # cleaned up, or written by another program; the library knows all forms


def log_entries(
    uri: str, options: dict[str, str] | None, versions: Iterable[int]
) -> Iterator[bytes]:
    """Return the log entries of these versions of a table; see :func:`log_files`."""
    return log_files(uri, options, (f"{version:020}.json" for version in versions))


def log_files(uri: str, options: dict[str, str] | None, names: Iterable[str]) -> Iterator[bytes]:
    """Return files of a table's log.

    Those of a local table are read as files. The library's own reader loads pyarrow, which takes
    half a second and 60 MiB, and which ``promptmill status`` does not need otherwise.

    Args:
        uri: the library's spelling, with ``file://`` for a local table.

    Raises:
        FileNotFoundError: the log no longer has one of them.
    """
    paths = (f"_delta_log/{name}" for name in names)
    if uri.startswith("file://"):
        folder = Path(unquote(urlsplit(uri).path))
        yield from ((folder / path).read_bytes() for path in paths)
        return
    from deltalake.fs import DeltaStorageHandler

    storage = DeltaStorageHandler(uri, options)
    yield from (storage.open_input_stream(path).read() for path in paths)
