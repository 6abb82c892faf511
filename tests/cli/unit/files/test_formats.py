"""A format is recognised by its first bytes; what cannot be read is named in one line."""

from __future__ import annotations

import pytest

from promptmill.cli.publish.files.formats import InputFormat, compression_of, format_of
from promptmill.runtime.errors import Misconfigured


@pytest.mark.parametrize(
    ("head", "name", "found"),
    [
        (b"", "x", InputFormat.LINES),
        (b" \n\n", "x", InputFormat.LINES),
        (b'{"prompt": "a"}\n{"prompt": "b"}', "x", InputFormat.LINES),
        (b'{"prompt": "a", "n": [', "x", InputFormat.LINES),
        (b'\xef\xbb\xbf{"prompt": "a"}\r\n', "x", InputFormat.LINES),
        (b'{"prompt": "a"\n{"prompt": "b"}', "x", InputFormat.LINES),
        (b'no json\n{"prompt": "b"}', "x", InputFormat.LINES),
        (b'["a"]\n{"prompt": "b"}', "x", InputFormat.LINES),
        (b'[{"prompt": "a"}]', "x.jsonl", InputFormat.VALUES),
        (b'[\n {\n  "prompt": "a"', "x", InputFormat.VALUES),
        (b'{\n "prompt": "a"\n}\n{', "x", InputFormat.VALUES),
        (b'{"messages": [\n', "x", InputFormat.VALUES),
        (b"PAR1\x15", "x.jsonl", InputFormat.PARQUET),
        (b"anything,else\n1,2", "x.csv", InputFormat.CSV),
        (b"anything\telse\n", "x.TSV", InputFormat.TSV),
        (b"id,question,answer\n", "x", InputFormat.CSV),
        (b"id\tinstruction\n", "-", InputFormat.TSV),
        (b"id;question;answer\n", "x", InputFormat.SEMICOLONS),
        (b"prompt;n\na;2\n", "x.csv", InputFormat.SEMICOLONS),
        (b"frage;antwort\na, b;c\n", "x.csv", InputFormat.SEMICOLONS),
        (b"frage\tantwort\n", "x.csv", InputFormat.TSV),
        (b"question,answer\n", "x.tsv", InputFormat.CSV),
        (b'{"prompt": "a\0b"}\n', "x", InputFormat.LINES),
        (b'{"data": [{"a": 1}]}\n{"data": [{"a": 2}]}\n', "x", InputFormat.LINES),
    ],
)
def test_a_format_is_recognised(head: bytes, name: str, found: InputFormat) -> None:
    assert format_of(head, name) is found


@pytest.mark.parametrize(
    ("head", "what", "remedy"),
    [
        (b"PK\x03\x04xl/", "zip archive or a spreadsheet", "CSV"),
        (b"\xfd7zXZ\x00\x00", "compressed with xz", "xz -dc"),
        (b"\x04\x22\x4d\x18", "lz4", "lz4 -dc"),
        (b"7z\xbc\xaf\x27\x1c", "7-Zip", "unpack"),
        (b"Rar!\x1a", "RAR", "unpack"),
        (b"ARROW1\0\0", "Arrow", "to_parquet"),
        (b"\xff\xff\xff\xff\x10", "Arrow", "to_parquet"),
        (b"SQLite format 3\0", "SQLite", "sqlite3 -csv"),
        (b"%PDF-1.7", "PDF", "give JSON Lines"),
        (b'\xff\xfe{\0"\0', "UTF-16", "iconv -f UTF-16"),
        (b"version https://git-lfs.github.com/spec/v1\noid", "Git LFS", "git lfs pull"),
        (b"x" * 257 + b"ustar\0", "tar archive", "unpack"),
        (b"\n<!DOCTYPE html>", "HTML", "failed download"),
        (b'{\0"\0p\0', "UTF-16", "iconv -f UTF-16LE"),
        (b'\0{\0"\0p', "UTF-16", "iconv -f UTF-16BE"),
        (b"\xff\xfe\0\0{\0\0\0", "UTF-32", "iconv -f UTF-32"),
        (b"\x93NUMPY\0\0", "binary", "give JSON Lines"),
        (b'"What is a fjord?"\n"Name a sea."\n', "JSON strings", "jq -c '{prompt: .}'"),
        (b'["What is a fjord?",\n "Name a sea."]', "array of strings", "jq -c '.[] | {prompt: .}'"),
        (b'{"data": [{"prompt": "a"}]}', '"data"', "jq -c '.data[]'"),
        (b'{\n "version": "1.1",\n "data": [\n  {"prompt": "a"}', '"data"', "jq -c '.data[]'"),
        (b'{"features": [], "rows": [{"row_idx": 0, "row": {', '"rows"', "jq -c '.rows[].row'"),
        (b"What is a fjord?\nName a sea.\n", "text, but neither JSON nor CSV", "jq -cR"),
    ],
)
def test_what_cannot_be_read_is_named_with_a_remedy(head: bytes, what: str, remedy: str) -> None:
    with pytest.raises(Misconfigured) as caught:
        format_of(head, "a-file")
    text = str(caught.value)
    assert text.startswith("a-file is ")
    assert what in text
    assert remedy in text
    assert "\n" not in text


@pytest.mark.parametrize(
    ("head", "codec"),
    [(b"\x1f\x8b\x08", "gzip"), (b"BZh9", "bz2"), (b"\x28\xb5\x2f\xfd", "zstd"), (b"{", None)],
)
def test_a_compression_is_recognised(head: bytes, codec: str | None) -> None:
    assert compression_of(head) == codec
