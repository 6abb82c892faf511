"""Recognising a file's format from its first bytes and its name.

Files of other formats are refused with an error of one line.
"""

from __future__ import annotations

import csv
import re
from enum import StrEnum
from typing import Final

from promptmill.cli.publish.files.splitting import UTF8_BOM
from promptmill.runtime.errors import Misconfigured


class InputFormat(StrEnum):
    """The format in which the rows of a file are written."""

    LINES = "JSON Lines"
    VALUES = "JSON"
    CSV = "CSV"
    TSV = "tab-separated values"
    SEMICOLONS = "semicolon-separated values"
    PARQUET = "Parquet"


class Compression(StrEnum):
    """The compression of a file; the values are the names of pyarrow's codecs."""

    GZIP = "gzip"
    BZIP2 = "bz2"
    ZSTANDARD = "zstd"


HEAD_BYTES: Final = 64 * 1024
"""The number of bytes from the beginning of a file that determine its format."""

COMPRESSIONS: Final = {
    b"\x1f\x8b": Compression.GZIP,
    b"BZh": Compression.BZIP2,
    b"\x28\xb5\x2f\xfd": Compression.ZSTANDARD,
}
PARQUET_MAGIC: Final = b"PAR1"
SUFFIXES: Final = {
    ".csv": InputFormat.CSV,
    ".tsv": InputFormat.TSV,
    ".parquet": InputFormat.PARQUET,
}
COMPRESSED_SUFFIXES: Final = (".gz", ".bz2", ".zst", ".zstd")
DATA_SUFFIXES: Final = (".jsonl", ".ndjson", ".json", *SUFFIXES)
COLUMNS: Final = {
    *("prompt", "messages", "question", "instruction", "conversations", "problem", "query"),
    *("context", "chosen"),
}
"""The column names, at least one of which must be in the header of a CSV file."""

DELIMITERS: Final = {InputFormat.CSV: ",", InputFormat.TSV: "\t", InputFormat.SEMICOLONS: ";"}
READABLE: Final = (
    "give JSON Lines, a JSON array, CSV or Parquet, plain or as .gz, .bz2 or .zst, "
    "or a folder of these files"
)
AS_PARQUET: Final = 'write it with datasets: load_from_disk(FOLDER).to_parquet("rows.parquet")'
FOREIGN: Final = (
    (b"PK\x03\x04", "a zip archive or a spreadsheet", "unpack it, or save the sheet as CSV"),
    (b"\xfd7zXZ\x00", "compressed with xz", "run xz -dc FILE | promptmill publish -"),
    (b"\x04\x22\x4d\x18", "compressed with lz4", "run lz4 -dc FILE | promptmill publish -"),
    (b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive", "unpack it"),
    (b"Rar!", "a RAR archive", "unpack it"),
    (b"ARROW1", "an Arrow file", AS_PARQUET),
    (b"\xff\xff\xff\xff", "an Arrow stream", AS_PARQUET),
    (b"ORC", "an ORC file", "convert it to Parquet"),
    (b"Obj\x01", "an Avro file", "convert it to JSON Lines"),
    (b"SQLite format 3", "an SQLite database", "export the table: sqlite3 -csv FILE 'select …'"),
    (b"%PDF", "a PDF document", READABLE),
    (
        b"\xff\xfe\0\0",
        "text in UTF-32",
        "run iconv -f UTF-32 -t UTF-8 FILE | promptmill publish -",
    ),
    (b"\xff\xfe", "text in UTF-16", "run iconv -f UTF-16 -t UTF-8 FILE | promptmill publish -"),
    (b"\xfe\xff", "text in UTF-16", "run iconv -f UTF-16 -t UTF-8 FILE | promptmill publish -"),
    (
        b"version https://git-lfs.github.com/spec",
        "a Git LFS pointer, and not the file itself",
        "run git lfs pull in the clone",
    ),
)
TAR_MAGIC: Final = (257, b"ustar")
MARKUP: Final = (b"<!doctype", b"<html", b"<?xml")
AS_PROMPTS: Final = "make each line a prompt: jq -cR '{prompt: .}' FILE | promptmill publish -"
STRINGS: Final = {
    b'"': ("JSON strings, one after the other", "jq -c '{prompt: .}'"),
    b"[": ("a JSON array of strings", "jq -c '.[] | {prompt: .}'"),
}
_ARRAY_OF_STRINGS: Final = re.compile(rb'\[\s*"')
_SCALAR: Final = rb'"[^"\\]*"\s*:\s*(?:"[^"\\]*"|[-+.\w]+|\[\s*\]|\{\s*\})\s*,\s*'
_ROWS_INSIDE: Final = re.compile(
    rb"\{\s*(?:" + _SCALAR + rb')*"(data|rows|examples|instances|records|items|train)"\s*:\s*'
    rb'\[\s*\{\s*("row_idx")?'
)
"""An object around all rows, with nothing but single values before them."""


def compression_of(head: bytes) -> Compression | None:
    """Return the compression of a file that begins with these bytes."""
    return next((name for magic, name in COMPRESSIONS.items() if head.startswith(magic)), None)


def format_of(head: bytes, name: str) -> InputFormat:
    """Return the format of a file after decompression.

    Args:
        head: its first bytes.
        name: its name, without the suffix of its compression.

    Raises:
        Misconfigured: the format is not supported; the message names it and the remedy.

    Raises:
        Misconfigured: the format is not supported; the message names it and the remedy.
    """
    if head.startswith(PARQUET_MAGIC):
        return InputFormat.PARQUET
    _refuse_foreign(head, name)
    text = head.removeprefix(UTF8_BOM).lstrip()
    if not text:
        return InputFormat.LINES
    if text[:1] in {b"{", b"["}:
        kind = _json_format(text)
        _refuse_wrapped(text, kind, name)
        return kind
    return _text_format(text, name)


def refusal(name: str, what: str, remedy: str) -> Misconfigured:
    """Return the error for a file that cannot be read."""
    return Misconfigured(f"{name} is {what}; {remedy}")


def _refuse_foreign(head: bytes, name: str) -> None:
    for magic, what, remedy in FOREIGN:
        if head.startswith(magic):
            raise refusal(name, what, remedy)
    at, magic = TAR_MAGIC
    if head[at : at + len(magic)] == magic:
        raise refusal(name, "a tar archive", "unpack it, and give the folder")
    if head.lstrip()[:9].lower().startswith(MARKUP):
        raise refusal(name, "HTML or XML, perhaps the page of a failed download", READABLE)
    if b"\0" in head[:1] + head[2:3] or b"\0" in head[1:2] + head[3:4]:
        _refuse_wide(head, name)
    is_json = head.removeprefix(UTF8_BOM).lstrip()[:1] in {b"{", b"["}
    if b"\0" in head and not is_json:  # in JSON it is an error of its line
        raise refusal(name, "a binary file of an unknown kind", READABLE)


def _refuse_wide(head: bytes, name: str) -> None:
    """Refuse UTF-16 without a byte order mark, which has zeros beside its first letters."""
    for order, zeros, letters in (("LE", head[1:4:2], head[:4:2]), ("BE", head[:4:2], head[1:4:2])):
        if zeros == b"\0\0" and letters.isascii() and b"\0" not in letters:
            remedy = f"run iconv -f UTF-16{order} -t UTF-8 FILE | promptmill publish -"
            raise refusal(name, "text in UTF-16", remedy)


def _refuse_wrapped(text: bytes, kind: InputFormat, name: str) -> None:
    """Refuse rows inside an object and an array of strings, which need a conversion first."""
    if kind is InputFormat.VALUES and _ARRAY_OF_STRINGS.match(text):
        raise _strings(text, name)
    found = _ROWS_INSIDE.match(text)
    if found is None or (kind is InputFormat.LINES and text.partition(b"\n")[2].strip()):
        return
    key = found[1].decode()
    rows = f".{key}[].row" if found[2] else f".{key}[]"
    what = f'one object whose rows are in "{key}"'
    raise refusal(name, what, f"run jq -c '{rows}' FILE | promptmill publish -")


def _strings(text: bytes, name: str) -> Misconfigured:
    what, program = STRINGS[text[:1]]
    return refusal(name, what, f"make each a prompt: {program} FILE | promptmill publish -")


def _json_format(text: bytes) -> InputFormat:
    """Return JSON Lines, or JSON for an array or for values that span several lines."""
    first, ended, rest = text.partition(b"\n")
    first = first.strip()
    if first.startswith(b"["):
        is_line = first.endswith(b"]") and rest.lstrip()[:1] in {b"{", b"["}
        return InputFormat.LINES if is_line else InputFormat.VALUES
    is_opened = first == b"{" or first.endswith((b"{", b"[", b","))
    return InputFormat.VALUES if is_opened and ended else InputFormat.LINES


def _text_format(text: bytes, name: str) -> InputFormat:
    suffix = "." + name.rpartition(".")[2].lower()
    header, *lines = text.split(b"\n")
    headers = {kind: _cells(header, delimiter) for kind, delimiter in DELIMITERS.items()}
    known = [kind for kind, cells in headers.items() if not COLUMNS.isdisjoint(cells)]
    if suffix in {".csv", ".tsv"}:
        usual = SUFFIXES[suffix]
        widest = max((usual, *DELIMITERS), key=lambda kind: len(headers[kind]))
        return known[0] if known else usual if len(headers[usual]) > 1 else widest
    if any(line.lstrip().startswith(b"{") for line in lines):
        return InputFormat.LINES  # lines that are not JSON are reported one by one
    if known:
        return known[0]
    if text.startswith(b'"') and header.rstrip().endswith(b'"'):
        raise _strings(text, name)
    raise refusal(
        name,
        "text, but neither JSON nor CSV with a header that names a column",
        (f"{AS_PROMPTS}; or name it .csv"),
    )


def _cells(header: bytes, delimiter: str) -> list[str]:
    found = next(csv.reader([header.decode(errors="replace").strip()], delimiter=delimiter), [])
    return [cell.strip() for cell in found]
