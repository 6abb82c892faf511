"""Writing rows to files of JSON lines, also compressed, or Parquet, with their digests."""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, Protocol

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from promptmill.export.formats.format import FileFormat, Row

ROW_GROUP_BYTES: Final = 64 << 20
"""The maximum size of a row group in Arrow bytes before it is encoded; it bounds the memory."""

_CODECS: Final[dict[FileFormat, str]] = {"jsonl.gz": "gzip", "jsonl.zst": "zstd"}


class RowFile(Protocol):
    """A file to which rows are appended."""

    rows: int

    @property
    def size(self) -> int:
        """The number of bytes so far, without rows that are still in memory."""

    def write_rows(self, rows: Sequence[Row]) -> None:
        """Append these rows, each with all columns of the schema."""

    def write_table(self, table: pa.Table) -> None:
        """Append the rows of this table, which has the schema's columns."""

    def close(self) -> str:
        """Complete the file on disk, and return its SHA-256 digest."""


def open_file(path: Path, form: FileFormat, schema: pa.Schema, row_group: int) -> RowFile:
    """Create a file.

    Args:
        path: the path of the file.
        form: its format.
        schema: the columns of the rows.
        row_group: Arrow bytes after which a row group of a Parquet file ends.
    """
    if form == "parquet":
        return ParquetFile(path, schema, min(row_group, ROW_GROUP_BYTES))
    return JsonLinesFile(path, _CODECS.get(form))


class DigestingFile(io.RawIOBase):
    """A new file that counts and digests the bytes written to it."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._file = path.open("xb")
        self._sha256 = hashlib.sha256()
        self.size = 0

    def writable(self) -> bool:
        """Return ``True``."""
        return True

    def write(self, data: Any) -> int:
        """Append bytes."""
        view = memoryview(data)
        self._file.write(view)
        self._sha256.update(view)
        self.size += view.nbytes
        return view.nbytes

    def tell(self) -> int:
        """Return the number of bytes written so far."""
        return self.size

    def complete(self) -> str:
        """Write all data to disk, close the file and return the digest of its content."""
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        self.close()
        return self._sha256.hexdigest()


class JsonLinesFile:
    """JSON lines with one object per row."""

    def __init__(self, path: Path, codec: str | None) -> None:
        self._file = DigestingFile(path)
        self._out: Any = self._file
        if codec is not None:
            self._out = pa.CompressedOutputStream(pa.PythonFile(self._file, mode="w"), codec)
        self.rows = 0

    @property
    def size(self) -> int:
        """The number of bytes so far; the last ones may still be in the compressor."""
        return self._file.size

    def write_rows(self, rows: Sequence[Row]) -> None:
        """Append these rows."""
        option = orjson.OPT_APPEND_NEWLINE
        self._out.write(b"".join(orjson.dumps(row, option=option) for row in rows))
        self.rows += len(rows)

    def write_table(self, table: pa.Table) -> None:
        """Append the rows of this table."""
        self.write_rows(table.to_pylist())

    def close(self) -> str:
        """Complete the file."""
        if self._out is not self._file:
            self._out.close()
        return self._file.complete()


class ParquetFile:
    """Parquet with zstd compression and row groups of bounded size."""

    def __init__(self, path: Path, schema: pa.Schema, row_group: int) -> None:
        self._file = DigestingFile(path)
        self._schema = schema
        self._row_group = row_group
        self._writer = pq.ParquetWriter(self._file, schema, compression="zstd")
        self._waiting: list[pa.Table] = []
        self._waiting_bytes = 0
        self.rows = 0

    @property
    def size(self) -> int:
        """The number of bytes in complete row groups."""
        return self._file.size

    def write_rows(self, rows: Sequence[Row]) -> None:
        """Append these rows."""
        self.write_table(pa.Table.from_pylist(list(rows), schema=self._schema))

    def write_table(self, table: pa.Table) -> None:
        """Append the rows of this table."""
        self._waiting.append(table.cast(self._schema))
        self._waiting_bytes += table.nbytes
        self.rows += table.num_rows
        if self._waiting_bytes >= self._row_group:
            self._end_row_group()

    def close(self) -> str:
        """Complete the file."""
        self._end_row_group()
        self._writer.close()
        return self._file.complete()

    def _end_row_group(self) -> None:
        if self._waiting:
            group = pa.concat_tables(self._waiting).combine_chunks()
            self._writer.write_table(group, row_group_size=max(1, group.num_rows))
        self._waiting, self._waiting_bytes = [], 0
