"""A reader that knows nothing of promptmill: ``python outside_reader.py ENGINE FOLDER [DUCKDB]``.

It reads all tables over and over until its input ends. Every reading has to succeed, to hold no
row and no id twice, and to hold all rows of the reading before. It prints one JSON document.

ENGINE is ``delta-rs`` or ``duckdb``. DuckDB reads the log as well with its extension for Delta
Lake, which its package for Python does not contain: DUCKDB is a folder into which ``pip install
--target`` has put ``duckdb`` and ``duckdb-extension-delta`` of the same version. Without it, DuckDB
reads the files that delta-rs names.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

SCRIPT = Path(__file__)
DUCKDB = os.environ.get("PROMPTMILL_TEST_DUCKDB", "")
"""The folder with DuckDB and its extension for Delta Lake, if there is one."""

IDS = {
    "prompts": "prompt_id",
    "records": "record_id",
    "rejects": "prompt_id",
    "dead_letters": "letter_id",
}
TRIES = 50
"""Without a retention, each version may lose its files before they are read."""

PAUSE_S = 0.02
"""Between two readings of all tables, so that the writers get on."""

Rows: TypeAlias = list[tuple[int, int, str]]
"""Shard, offset and id of each row."""


def open_delta_rs(_extension: str) -> Callable[[str, str], Rows]:
    """Read with delta-rs; rows beyond the table's position are an error."""
    from deltalake import DeltaTable

    def read(uri: str, column: str) -> Rows:
        table = DeltaTable(uri)
        found = table.to_pyarrow_table(columns=["shard", "shard_offset", column])
        rows: Rows = list(zip(*(each.to_pylist() for each in found.columns), strict=True))
        topic = Path(uri).name.replace("_", "-")
        ends = {
            shard: table.transaction_version(f"promptmill/{topic}-{shard}") or 0
            for shard in {row[0] for row in rows}
        }
        beyond = [row for row in rows if row[1] >= ends[row[0]]]
        assert not beyond, f"rows beyond the position {ends}: {beyond[:3]}"
        return rows

    return read


def open_duckdb(extension: str) -> Callable[[str, str], Rows]:
    """Read with DuckDB."""
    if extension:
        sys.path.insert(0, extension)
    import duckdb

    connection = duckdb.connect()
    connection.execute("SET threads = 1")
    if extension:
        (file,) = Path(extension).glob("duckdb_extension_delta/extensions/*/*.duckdb_extension")
        connection.execute(f"LOAD '{file}'")

    def read(uri: str, column: str) -> Rows:
        files: Any = uri
        if not extension:
            from deltalake import DeltaTable

            files = DeltaTable(uri).file_uris()
        if not files:
            return []
        scan = "delta_scan" if extension else "read_parquet"
        query = f"select shard, shard_offset, {column} from {scan}(?)"  # noqa: S608
        return connection.execute(query, [files]).fetchall()

    return read


class Readings:
    """What has been read so far, and what was wrong with it."""

    def __init__(self, read: Callable[[str, str], Rows]) -> None:
        self._read = read
        self._before: dict[str, set[tuple[int, int, str]]] = {name: set() for name in IDS}
        self.count = dict.fromkeys(IDS, 0)
        self.repeated = 0
        self.wrong: list[str] = []

    @property
    def rows(self) -> dict[str, int]:
        """The rows of the last reading, by table."""
        return {name: len(rows) for name, rows in self._before.items()}

    def read(self, folder: Path, name: str) -> None:
        """Read one table, again if it failed."""
        for _ in range(TRIES):
            try:
                rows = self._read(str(folder / name), IDS[name])
            except Exception as error:  # noqa: BLE001 - of whichever library
                self.repeated += 1
                problem = f"{name}: {type(error).__name__}: {error}"
            else:
                self.count[name] += 1
                self._check(name, [row for row in rows if row[1] >= 0])  # marks have no offset
                return
        self.wrong.append(problem)

    def _check(self, name: str, rows: Rows) -> None:
        present, before = set(rows), self._before[name]
        if len({row[:2] for row in rows}) < len(rows):
            self.wrong.append(f"{name}: a message twice among {len(rows)} rows")
        if len({row[2] for row in rows}) < len(rows):
            self.wrong.append(f"{name}: an id twice among {len(rows)} rows")
        if missing := before - present:
            self.wrong.append(f"{name}: {len(missing)} of {len(before)} rows are gone")
        self._before[name] = present


def main() -> None:
    """Read until the input ends."""
    engine, folder, *extension = sys.argv[1:]
    opened = {"delta-rs": open_delta_rs, "duckdb": open_duckdb}[engine]("".join(extension))
    readings = Readings(opened)
    is_over = threading.Event()

    def wait() -> None:
        sys.stdin.read()
        is_over.set()

    threading.Thread(target=wait, daemon=True).start()
    while not all((Path(folder) / name / "_delta_log").exists() for name in IDS):
        time.sleep(0.01)
    is_last = False
    while not is_last:
        is_last = is_over.is_set()
        for name in IDS:
            readings.read(Path(folder), name)
        time.sleep(PAUSE_S)
    result = {
        "count": readings.count,
        "repeated": readings.repeated,
        "wrong": readings.wrong[:20],
        "rows": readings.rows,
    }
    print(json.dumps(result))


class OutsideReader:
    """The reader as a process."""

    def __init__(self, engine: str, folder: Path) -> None:
        command = [sys.executable, str(SCRIPT), engine, str(folder)]
        if engine == "duckdb" and DUCKDB:
            command.append(DUCKDB)
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def end(self) -> dict[str, Any]:
        """Let it read once more, and end it; what it has seen."""
        output, _ = self._process.communicate(timeout=120)
        found: dict[str, Any] = json.loads(output)
        return found

    def kill(self) -> None:
        """End it at once."""
        self._process.kill()
        self._process.communicate()


if __name__ == "__main__":
    main()
