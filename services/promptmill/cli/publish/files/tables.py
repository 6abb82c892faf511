"""Rows of CSV and Parquet, a few at a time."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from typing import Any, BinaryIO, Final

from promptmill.cli.publish.files.formats import DELIMITERS, InputFormat, refusal
from promptmill.cli.publish.files.splitting import RawLine
from promptmill_schemas.limits import MAX_PROMPT_BYTES

BATCH_ROWS: Final = 64
BUFFER_BYTES: Final = 1024 * 1024
OPENINGS: Final = ("[", "{")
NUMBERS: Final = {"n", "draw"}
"""Columns of our own lines that hold a number, which CSV writes as text."""

TOO_MANY: Final = "(cells without a column)"


class _Stream(io.RawIOBase):
    """Chunks as a file, which the text layer of Python can decode."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._rest = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        self._rest = self._rest or next(self._chunks, b"")
        size = min(len(buffer), len(self._rest))
        buffer[:size], self._rest = self._rest[:size], self._rest[size:]
        return size


def csv_rows(chunks: Iterator[bytes], kind: InputFormat, name: str) -> Iterator[list[RawLine]]:
    """The rows of CSV below its header, numbered as an editor numbers their first lines.

    Raises:
        Misconfigured: the file cannot be read as CSV.
    """
    csv.field_size_limit(MAX_PROMPT_BYTES)
    text = io.TextIOWrapper(
        io.BufferedReader(_Stream(chunks)), "utf-8-sig", errors="surrogateescape", newline=""
    )
    reader = csv.DictReader(text, restkey=TOO_MANY, delimiter=DELIMITERS[kind])
    batch: list[RawLine] = []
    try:
        reader.fieldnames  # noqa: B018 - reads the header
        number = reader.line_num + 1
        for row in reader:
            batch.append(RawLine(number, _cells(row)))
            number = reader.line_num + 1
            if len(batch) >= BATCH_ROWS:
                yield batch
                batch = []
    except csv.Error as error:
        what = f"no valid {kind.value} at line {reader.line_num}: {error}"
        raise refusal(name, what, "correct the line") from error
    if batch:
        yield batch


def _cells(row: dict[str, Any]) -> dict[str, Any]:
    """The cells that are not empty; JSON in a cell becomes what it means."""
    return {
        str(column): _cell(column, value)
        for column, value in row.items()
        if value not in {None, ""}
    }


def _cell(column: str, value: Any) -> Any:
    """A list or an object in JSON; of the columns of numbers also a number."""
    if isinstance(value, str) and (column in NUMBERS or value.startswith(OPENINGS)):
        try:
            return json.loads(value)
        except ValueError:
            return value
    return value


def parquet_rows(file: BinaryIO, name: str) -> Iterator[list[RawLine]]:
    """The rows of a Parquet file, numbered from 1, without its nulls.

    Raises:
        Misconfigured: the file is damaged or cut off.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    number = 0
    try:
        # Without a buffer for whole row groups, which may be as large as the file.
        with pq.ParquetFile(file, pre_buffer=False, buffer_size=BUFFER_BYTES) as parquet:
            for batch in parquet.iter_batches(BATCH_ROWS, use_threads=False):
                rows = [without_nulls(row) for row in batch.to_pylist()]
                yield [RawLine(number + at, row) for at, row in enumerate(rows, start=1)]
                number += len(rows)
    except (OSError, pa.ArrowException) as error:
        what = f"damaged or cut off (Parquet: {str(error).partition(chr(10))[0]})"
        raise refusal(name, what, "fetch or write the file again") from error


def without_nulls(value: Any) -> Any:
    """The value without the fields that are null at any depth: columns that a row has not."""
    if isinstance(value, dict):
        return {name: without_nulls(part) for name, part in value.items() if part is not None}
    if isinstance(value, list):
        return [without_nulls(part) for part in value]
    return value
