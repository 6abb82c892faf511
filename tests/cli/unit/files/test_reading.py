"""Files and pipes of every format are read to their end without blocking the event loop."""

from __future__ import annotations

import asyncio
import bz2
import gzip
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from promptmill.cli.publish.files.chunks import CHUNK_BYTES, Chunks
from promptmill.cli.publish.files.inputs import Input, find_inputs, left_out
from promptmill.cli.publish.files.reading import ReadProgress, read_inputs, read_opened
from promptmill.cli.publish.files.splitting import UTF8_BOM, RawLine
from promptmill.cli.publish.lines import parse_object
from promptmill.runtime.errors import Misconfigured
from promptmill_schemas import ContractError
from promptmill_schemas.limits import MAX_PROMPT_BYTES

ROWS = [{"prompt": f'Question {number}, "quoted" [and] {{so}}?'} for number in range(300)]
LINES = b"\n".join(map(orjson.dumps, ROWS))
PIPE = Input("-")


async def rows_in(path: Path | str, progress: ReadProgress | None = None) -> list[RawLine]:
    batches = read_inputs(find_inputs(str(path)), progress)
    return [row async for rows in batches for row in rows]


def values(rows: list[RawLine]) -> list[Any]:
    return [r.content if isinstance(r.content, dict) else orjson.loads(r.content) for r in rows]


def zstandard(content: bytes) -> bytes:
    return bytes(pa.compress(content, codec="zstd", asbytes=True))


def pretty(content: bytes) -> bytes:
    rows = [orjson.loads(line) for line in content.splitlines()]
    return orjson.dumps(rows, option=orjson.OPT_INDENT_2)


def pretty_values(content: bytes) -> bytes:
    rows = [orjson.loads(line) for line in content.splitlines()]
    return b"\n".join(orjson.dumps(row, option=orjson.OPT_INDENT_2) for row in rows)


def minified(content: bytes) -> bytes:
    return b"[" + content.replace(b"\n", b",") + b"]"


def crlf(content: bytes) -> bytes:
    return UTF8_BOM + content.replace(b"\n", b"\r\n") + b"\r\n"


def two_members(content: bytes) -> bytes:
    return gzip.compress(content[:5000]) + gzip.compress(content[5000:])


WRITTEN: dict[str, Callable[[bytes], bytes]] = {
    "rows.jsonl": bytes,
    "rows": bytes,
    "crlf.jsonl": crlf,
    "array.json": pretty,
    "marked.json": lambda content: UTF8_BOM + pretty(content).replace(b"\n", b"\r\n"),
    "minified.json": minified,
    "values.json": pretty_values,
    "rows.jsonl.gz": gzip.compress,
    "rows.gz": two_members,
    "named-wrongly.jsonl": gzip.compress,
    "rows.jsonl.bz2": bz2.compress,
    "two.bz2": lambda content: bz2.compress(content[:9000]) + bz2.compress(content[9000:]),
    "rows.jsonl.zst": zstandard,
    "array.json.gz": lambda content: gzip.compress(pretty(content)),
}


@pytest.mark.parametrize("name", WRITTEN)
async def test_the_same_rows_are_read_from_every_format(name: str, tmp_path: Path) -> None:
    file = tmp_path / name
    file.write_bytes(WRITTEN[name](LINES))
    progress = ReadProgress()
    rows = await rows_in(file, progress)
    assert values(rows) == ROWS
    assert [row.number for row in rows] == list(range(1, 301))
    assert progress.done == file.stat().st_size


@pytest.mark.parametrize("name", WRITTEN)
async def test_a_pipe_is_read_as_a_file_is(name: str) -> None:
    reading, writing = os.pipe()
    content = WRITTEN[name](LINES)
    feeding = asyncio.create_task(asyncio.to_thread(feed, writing, content))
    try:
        batches = read_opened(Chunks(reading), PIPE)
        assert values([row async for rows in batches for row in rows]) == ROWS
    finally:
        await asyncio.wait_for(feeding, 5)
        os.close(reading)


def feed(descriptor: int, content: bytes) -> None:
    with os.fdopen(descriptor, "wb") as stream:
        for at in range(0, len(content), 1000):
            stream.write(content[at : at + 1000])
            stream.flush()


async def test_rows_of_parquet_have_no_nulls(tmp_path: Path) -> None:
    table = pa.Table.from_pylist(
        [
            {"messages": [{"role": "user", "content": "a", "name": None}], "n": 2},
            {"messages": [{"role": "user", "content": "b", "name": "x"}], "n": None},
        ]
    )
    pq.write_table(table, tmp_path / "rows.parquet", row_group_size=1)
    assert await rows_in(tmp_path / "rows.parquet") == [
        RawLine(1, {"messages": [{"role": "user", "content": "a"}], "n": 2}),
        RawLine(2, {"messages": [{"role": "user", "content": "b", "name": "x"}]}),
    ]


async def test_memory_stays_flat_for_a_large_row_group(tmp_path: Path) -> None:
    rows = [{"prompt": os.urandom(2000).hex()} for _ in range(10_000)]
    file = tmp_path / "rows.parquet"
    pq.write_table(pa.Table.from_pylist(rows), file)
    assert pq.ParquetFile(file).metadata.num_row_groups == 1
    del rows
    before, seen = pa.total_allocated_bytes(), 0
    async for batch in read_inputs([Input(str(file))]):
        seen += len(batch)
        assert pa.total_allocated_bytes() - before < file.stat().st_size / 4
    assert seen == 10_000


CSV_TEXT = (
    'prompt,n,messages,note\r\n"Why, ""you""?",,,\r\n"Two\r\nlines",3,,x\r\n'
    ',,"[{""role"": ""user"", ""content"": ""c""}]",\r\n'
)


@pytest.mark.parametrize("mark", [b"", UTF8_BOM])
@pytest.mark.parametrize("name", ["rows.csv", "rows.csv.gz", "rows"])
async def test_rows_of_csv_are_numbered_by_their_first_lines(
    name: str, mark: bytes, tmp_path: Path
) -> None:
    content = mark + CSV_TEXT.encode()
    (tmp_path / name).write_bytes(gzip.compress(content) if name.endswith("gz") else content)
    assert await rows_in(tmp_path / name) == [
        RawLine(2, {"prompt": 'Why, "you"?'}),
        RawLine(3, {"prompt": "Two\r\nlines", "n": 3, "note": "x"}),
        RawLine(5, {"messages": [{"role": "user", "content": "c"}]}),
    ]


async def test_the_cells_of_another_delimiter_are_read_too(tmp_path: Path) -> None:
    (tmp_path / "rows.tsv").write_text("prompt\tid\nWhy?\t007\n")
    assert await rows_in(tmp_path / "rows.tsv") == [RawLine(2, {"prompt": "Why?", "id": "007"})]


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
async def test_the_delimiter_of_the_header_counts_and_not_the_name(
    delimiter: str, tmp_path: Path
) -> None:
    text = f"{delimiter.join((' prompt', 'n '))}\na{delimiter}2\n"
    (tmp_path / "rows.csv").write_text(text)
    assert await rows_in(tmp_path / "rows.csv") == [RawLine(2, {"prompt": "a", "n": 2})]


async def test_a_row_with_more_cells_than_the_header_is_wrong_by_itself(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("prompt,n\nWhy, you?,2,x\nb\n")
    first, second = await rows_in(tmp_path / "rows.csv")
    assert second == RawLine(3, {"prompt": "b"})
    with pytest.raises(ContractError, match=r"'x'.*as many cells as the header.*quotes"):
        parse_object(first.content)


@pytest.mark.parametrize("text", ['prompt,n\na,1\n"b,2\nc,3\n', 'prompt,n\na,1\n"b" c,2\n'])
async def test_quotes_that_are_not_closed_swallow_no_rows(text: str, tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text(text)
    with pytest.raises(Misconfigured, match=r"row that begins at line 3: .*double the quotes"):
        await rows_in(tmp_path / "rows.csv")


async def test_a_text_in_brackets_is_a_text(tmp_path: Path) -> None:
    texts = ("[1, 2]", '{"a": 1}', "[]")
    quoted = "".join('"' + text.replace('"', '""') + '"\n' for text in texts)
    (tmp_path / "rows.csv").write_text("prompt\n" + quoted)
    rows = await rows_in(tmp_path / "rows.csv")
    assert [row.content for row in rows] == [{"prompt": text} for text in texts]


async def test_a_map_of_parquet_is_an_object(tmp_path: Path) -> None:
    tags = pa.array([[("a", "x"), ("b", "y")]], pa.map_(pa.string(), pa.string()))
    pq.write_table(pa.table({"prompt": ["Q"], "tags": tags}), tmp_path / "rows.parquet")
    assert await rows_in(tmp_path / "rows.parquet") == [
        RawLine(1, {"prompt": "Q", "tags": {"a": "x", "b": "y"}})
    ]


def test_what_a_folder_says_about_its_data_is_no_data(tmp_path: Path) -> None:
    for name in ("dataset_info.json", "dataset_infos.json", "dataset_dict.json", "state.json"):
        (tmp_path / name).write_text("{}")
    (tmp_path / "rows.jsonl").write_bytes(LINES)
    (tmp_path / "__MACOSX").mkdir()
    (tmp_path / "__MACOSX" / "rows.jsonl").write_bytes(b"\0\5")
    assert [each.file for each in find_inputs(str(tmp_path))] == ["rows.jsonl"]


def test_data_that_cannot_be_read_is_named_and_not_left_out_silently(tmp_path: Path) -> None:
    for name in ("data-00000-of-00001.arrow", "b.xlsx", "c.tar.gz", "notes.md"):
        (tmp_path / name).write_bytes(b"x")
    assert left_out(str(tmp_path)) == ["b.xlsx", "c.tar.gz", "data-00000-of-00001.arrow"]
    with pytest.raises(Misconfigured, match=r"without data files.*b\.xlsx, c\.tar\.gz.*to_parquet"):
        find_inputs(str(tmp_path))


async def test_the_files_of_a_folder_are_read_by_name_and_named(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    (folder / "train").mkdir(parents=True)
    (folder / ".git").mkdir()
    (folder / "train" / "b.jsonl.gz").write_bytes(gzip.compress(LINES))
    (folder / "a.json").write_bytes(pretty(LINES))
    (folder / "README.md").write_text("# A data set")
    (folder / ".git" / "x.jsonl").write_bytes(LINES)
    rows = await rows_in(folder)
    assert values(rows) == ROWS * 2
    assert [row.file for row in rows] == ["a.json"] * 300 + ["train/b.jsonl.gz"] * 300
    assert rows[300].number == 1


def test_a_folder_without_data_is_refused(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("# A data set")
    with pytest.raises(Misconfigured, match="folder without data files; give JSON Lines"):
        find_inputs(str(tmp_path))


DAMAGED: dict[str, Callable[[bytes], bytes]] = {
    "cut.jsonl.gz": lambda content: gzip.compress(content)[:-100],
    "cut.jsonl.bz2": lambda content: bz2.compress(content)[:-100],
    "cut.jsonl.zst": lambda content: zstandard(content)[:-100],
    "broken.gz": lambda content: gzip.compress(content)[:100] + b"\xff" * 400,
    "cut.json": lambda content: pretty(content)[:-4],
    "cut.parquet": lambda content: b"PAR1" + content,
}


@pytest.mark.parametrize("name", DAMAGED)
async def test_a_damaged_file_is_named_in_one_line(name: str, tmp_path: Path) -> None:
    file = tmp_path / name
    file.write_bytes(DAMAGED[name](LINES))
    with pytest.raises(Misconfigured) as caught:
        await rows_in(file)
    text = str(caught.value)
    assert text.startswith(f"{file} is ")
    assert "truncated" in text
    assert "again" in text
    assert "\n" not in text


async def test_a_file_is_read_line_by_line(tmp_path: Path) -> None:
    file = tmp_path / "lines"
    lines = [b'{"n": "%s"}' % (b"%d" % number * 1000) for number in range(1, 1000)]
    file.write_bytes(b"\n".join(lines))
    assert file.stat().st_size > CHUNK_BYTES
    assert [row.content for row in await rows_in(file)] == lines


async def test_a_pipe_is_read_while_it_is_written() -> None:
    reading, writing = os.pipe()
    lines = read_opened(Chunks(reading), PIPE)
    try:
        for number in range(20):
            os.write(writing, b'{"a": %d}\n' % number)
            (line,) = await asyncio.wait_for(anext(lines), 60)
            assert (line.number, line.content) == (number + 1, b'{"a": %d}' % number)
        os.write(writing, b"last")
        os.close(writing)
        assert [line.content async for batch in lines for line in batch] == [b"last"]
    finally:
        os.close(reading)


async def test_a_pipe_that_says_nothing_does_not_hold_up_the_loop() -> None:
    reading, writing = os.pipe()
    lines = read_opened(Chunks(reading), PIPE)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(anext(lines), 0.05)
    os.close(writing)
    await lines.aclose()


async def test_a_line_beyond_the_limit_is_cut(tmp_path: Path) -> None:
    file = tmp_path / "long"
    file.write_bytes(b"{" * (MAX_PROMPT_BYTES + 5) + b"\n{}\n")
    lines = await rows_in(file)
    assert [(len(line.content), line.size) for line in lines] == [
        (MAX_PROMPT_BYTES, MAX_PROMPT_BYTES + 5),
        (2, 2),
    ]
