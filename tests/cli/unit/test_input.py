"""Files and pipes are read to their end without blocking the event loop."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from promptmill.cli.publish.input import CHUNK_BYTES, read_lines
from promptmill_schemas.limits import MAX_PROMPT_BYTES


async def contents(descriptor: int) -> list[bytes]:
    return [line.content async for lines in read_lines(descriptor) for line in lines]


async def test_a_file_is_read_line_by_line(tmp_path: Path) -> None:
    file = tmp_path / "lines"
    lines = [b"%d" % number * 1000 for number in range(1, 1000)]
    file.write_bytes(b"\n".join(lines))
    assert file.stat().st_size > CHUNK_BYTES
    with file.open("rb") as stream:
        assert await contents(stream.fileno()) == lines


async def test_a_pipe_is_read_while_it_is_written() -> None:
    reading, writing = os.pipe()
    lines = read_lines(reading)
    try:
        for number in range(20):
            os.write(writing, b"%d\n" % number)
            (line,) = await asyncio.wait_for(anext(lines), 60)
            assert (line.number, line.content) == (number + 1, b"%d" % number)
        os.write(writing, b"last")
        os.close(writing)
        assert [line.content async for batch in lines for line in batch] == [b"last"]
    finally:
        os.close(reading)


async def test_a_pipe_that_says_nothing_does_not_hold_up_the_loop() -> None:
    reading, writing = os.pipe()
    lines = read_lines(reading)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(anext(lines), 0.05)
    os.close(writing)
    await lines.aclose()


async def test_a_line_beyond_the_limit_is_cut(tmp_path: Path) -> None:
    file = tmp_path / "long"
    file.write_bytes(b"x" * (MAX_PROMPT_BYTES + 5) + b"\nshort\n")
    with file.open("rb") as stream:
        lines = [line async for batch in read_lines(stream.fileno()) for line in batch]
    assert [(len(line.content), line.size) for line in lines] == [
        (MAX_PROMPT_BYTES, MAX_PROMPT_BYTES + 5),
        (5, 5),
    ]
