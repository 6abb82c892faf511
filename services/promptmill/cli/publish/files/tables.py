"""Reading rows of CSV and Parquet in small batches."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from typing import Any, BinaryIO, Final

from promptmill.cli.publish.files.formats import DELIMITERS, InputFormat, refusal
from promptmill.cli.publish.files.splitting import RawLine
from promptmill_schemas import ContractError
from promptmill_schemas.limits import MAX_PROMPT_BYTES

BATCH_ROWS: Final = 64
BUFFER_BYTES: Final = 1024 * 1024
OPENINGS: Final = ("[", "{")
NUMBERS: Final = {"n", "draw"}
"""Columns of promptmill's own layout that hold a number, which is text in CSV."""

TEXTS: Final = {
    *("prompt", "question", "problem", "query", "instruction", "input", "output", "response"),
    *("completion", "answer", "solution", "text"),
}
"""Columns of texts, in which only conversations are parsed as JSON."""

TOO_MANY: Final = "(cells without a column)"


class _Stream(io.RawIOBase):
    """Chunks as a binary file, which Python's text layer can decode."""

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
    """Yield the rows of a CSV file, each with the number of its first line in the file.

    Raises:
        Misconfigured: the file cannot be read as CSV.
    """
    csv.field_size_limit(MAX_PROMPT_BYTES)
    text = io.TextIOWrapper(
        io.BufferedReader(_Stream(chunks)), "utf-8-sig", errors="surrogateescape", newline=""
    )
    # Without ``strict``, a quote that is not closed would swallow the rows that follow it.
    reader = csv.DictReader(text, restkey=TOO_MANY, delimiter=DELIMITERS[kind], strict=True)
    batch: list[RawLine] = []
    number = 1
    try:
        reader.fieldnames = [name.strip() for name in reader.fieldnames or ()]
        number = reader.line_num + 1
        for row in reader:
            batch.append(RawLine(number, _cells(row)))
            number = reader.line_num + 1
            if len(batch) >= BATCH_ROWS:
                yield batch
                batch = []
    except csv.Error as error:
        what = f"no valid {kind.value} in the row that begins at line {number}: {error}"
        raise refusal(name, what, "double the quotes within a cell, and close each cell") from error
    if batch:
        yield batch


def _cells(row: dict[str, Any]) -> dict[str, Any]:
    """Return the cells that are not empty, with JSON in cells parsed."""
    return {
        str(column): _cell(column, value)
        for column, value in row.items()
        if value is not None and value != ""
    }


def _cell(column: str, value: Any) -> Any:
    """Return the meaning of a cell; a text that only looks like JSON remains a text."""
    if not isinstance(value, str) or not (column in NUMBERS or value.startswith(OPENINGS)):
        return value
    try:
        found = json.loads(value)
    except ValueError:
        return value
    return value if column in TEXTS and not _has_objects(found) else found


def _has_objects(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(v, dict) for v in value)


def complete_row(row: dict[str, Any]) -> dict[str, Any]:
    """Return the row if it has no more cells than the header; otherwise columns are shifted.

    Raises:
        ContractError: the row has more cells.
    """
    if TOO_MANY in row:
        limit = "a row has at most as many cells as the header"
        raise ContractError("", row[TOO_MANY], limit, "put cells with the delimiter into quotes")
    return row


def parquet_rows(file: BinaryIO, name: str) -> Iterator[list[RawLine]]:
    """Yield the rows of a Parquet file, numbered from 1, without fields that are null.

    Raises:
        Misconfigured: the file is damaged or truncated.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    number = 0
    try:
        # Do not buffer whole row groups, because one may be as large as the file.
        with pq.ParquetFile(file, pre_buffer=False, buffer_size=BUFFER_BYTES) as parquet:
            for batch in parquet.iter_batches(BATCH_ROWS, use_threads=False):
                found = batch.to_pylist(maps_as_pydicts="lossy")
                rows = [without_nulls(row) for row in found]
                yield [RawLine(number + at, row) for at, row in enumerate(rows, start=1)]
                number += len(rows)
    except (OSError, pa.ArrowException) as error:
        what = f"damaged or truncated (Parquet: {str(error).partition(chr(10))[0]})"
        raise refusal(name, what, "download or write the file again") from error


def without_nulls(value: Any) -> Any:
    """Remove fields that are null, at any depth: they are columns that this row lacks."""
    if isinstance(value, dict):
        return {name: without_nulls(part) for name, part in value.items() if part is not None}
    if isinstance(value, list):
        return [without_nulls(part) for part in value]
    return value
