"""Export of records from one version of the table to a file, which is created atomically."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import reduce
from operator import and_
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import orjson
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from promptmill.lake.ports import TableName
from promptmill.lake.reader import DeltaReader
from promptmill.lake.tables import TABLES
from promptmill.runtime.errors import Misconfigured

LOG_POSITION = {"shard", "shard_offset"}
SCHEMA = pa.schema(
    [field for field in TABLES[TableName.RECORDS].schema if field.name not in LOG_POSITION]
)
JSON_COLUMNS = ("sampling",)


@dataclass(frozen=True, slots=True)
class Exported:
    """The result of an export.

    Attributes:
        out: the file that was written.
        form: the file format, ``jsonl`` or ``parquet``.
        rows: number of records.
        version: version of the table; the same version gives the same rows again.
    """

    out: Path
    form: str
    rows: int
    version: int

    def as_json(self) -> dict[str, str | int]:
        """The object that ``export --json`` prints."""
        return {
            "out": str(self.out),
            "format": self.form,
            "rows": self.rows,
            "table_version": self.version,
        }


class Writer(Protocol):
    """A file format, to which rows are written in batches."""

    def write(self, batch: pa.RecordBatch) -> None:
        """Append these rows."""

    def close(self) -> None:
        """Complete the content; the file itself stays open."""


def export_records(
    store: str, out: Path, form: str, *, run: str | None, kind: str | None
) -> Exported:
    """Write the matching records of the table's latest version to a file.

    Args:
        store: URI of the folder of the tables.
        out: the file to write.
        form: the file format, ``jsonl`` or ``parquet``.
        run: export only this run; ``None`` exports all.
        kind: export only this kind of record; ``None`` exports all.

    Raises:
        Misconfigured: there is no table, or the file cannot be written.
        Unavailable: the store does not answer.
    """
    snapshot = DeltaReader(store).snapshot(TableName.RECORDS)
    if snapshot is None:
        raise Misconfigured(
            f"{store} has no table of records yet, because nothing has been stored; start "
            "`promptmill run store`, or point PROMPTMILL_STORE at the right folder"
        )
    rows = 0
    with _appearing(out) as file:
        writer: Writer = JsonLines(file) if form == "jsonl" else Parquet(file, SCHEMA)
        for batch in snapshot.scan(SCHEMA.names, _condition(run=run, kind=kind)):
            writer.write(batch)
            rows += batch.num_rows
        writer.close()
    return Exported(out, form, rows, snapshot.version)


class JsonLines:
    """JSON lines with one object per record; maps and columns of JSON text become objects."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def write(self, batch: pa.RecordBatch) -> None:
        """Append these rows."""
        for row in batch.to_pylist(maps_as_pydicts="strict"):
            self._file.write(orjson.dumps(_plain(row), option=orjson.OPT_APPEND_NEWLINE))

    def close(self) -> None:
        """Do nothing, because every row has been written."""


class Parquet:
    """A Parquet file with zstd compression and one row group per batch."""

    def __init__(self, file: BinaryIO, schema: pa.Schema) -> None:
        self._schema = schema
        self._writer = pq.ParquetWriter(file, schema, compression="zstd")

    def write(self, batch: pa.RecordBatch) -> None:
        """Append these rows."""
        self._writer.write_table(pa.Table.from_batches([batch]).cast(self._schema))

    def close(self) -> None:
        """Write the footer."""
        self._writer.close()


def _plain(row: dict[str, Any]) -> dict[str, Any]:
    texts = {name: row[name] for name in JSON_COLUMNS if row[name] is not None}
    return row | {name: orjson.Fragment(text) for name, text in texts.items()}


def _condition(**wanted: str | None) -> ds.Expression | None:
    given = [ds.field(name) == value for name, value in wanted.items() if value is not None]
    return reduce(and_, given) if given else None


@contextmanager
def _appearing(out: Path) -> Iterator[BinaryIO]:
    """A file that gets its name when it is complete; after an error nothing of it remains."""
    draft = out.with_name(f".{out.name}.{os.getpid()}.part")
    try:
        with draft.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        draft.replace(out)
    except OSError as error:
        raise Misconfigured(f"cannot write {out}: {error}; choose another --out") from error
    finally:
        draft.unlink(missing_ok=True)
