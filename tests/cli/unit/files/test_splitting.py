"""Input of any size becomes lines without any of them being held beyond the limit."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptmill.cli.publish.files.splitting import UTF8_BOM, LineSplitter, RawLine


def split(*chunks: bytes, limit: int = 100) -> list[RawLine]:
    splitter = LineSplitter(limit)
    lines = [line for chunk in chunks for line in splitter.feed(chunk)]
    return lines + splitter.end()


def test_lines_are_numbered_as_an_editor_numbers_them() -> None:
    lines = split(b'{"a": 1}\n\n  \r\n{"b": 2}\r\n')
    assert [(line.number, line.content) for line in lines] == [(1, b'{"a": 1}'), (4, b'{"b": 2}\r')]


def test_a_last_line_without_a_line_break_counts() -> None:
    assert split(b"a\nb") == [RawLine(1, b"a", 1), RawLine(2, b"b", 1)]


def test_an_empty_input_has_no_lines() -> None:
    assert split() == split(b"") == split(b"\n\n") == []


def test_a_byte_order_mark_is_no_part_of_the_first_line() -> None:
    assert split(UTF8_BOM[:1], UTF8_BOM[1:] + b"a\n" + UTF8_BOM + b"b") == [
        RawLine(1, b"a", 1),
        RawLine(2, UTF8_BOM + b"b", 4),
    ]


def test_a_line_beyond_the_limit_is_counted_but_not_held() -> None:
    splitter = LineSplitter(limit=10)
    for _ in range(1000):
        assert splitter.feed(b"x" * 1000) == []
        assert len(splitter._pieces._head) <= 10
    long, short = [*splitter.feed(b"y\nz"), *splitter.end()]
    assert (long.content, long.size, long.is_cut) == (b"x" * 10, 1_000_001, True)
    assert short == RawLine(2, b"z", 1)
    assert not short.is_cut


@pytest.mark.parametrize("size", [9, 10])
def test_a_line_at_the_limit_is_whole(size: int) -> None:
    (line,) = split(b"x" * size + b"\n", limit=10)
    assert not line.is_cut


@given(lines=st.lists(st.binary(max_size=30), max_size=8), sizes=st.lists(st.integers(1, 9)))
def test_the_lines_do_not_depend_on_the_chunks(lines: list[bytes], sizes: list[int]) -> None:
    data, chunks = b"\n".join(lines), []
    rest = data
    for size in sizes:
        chunks.append(rest[:size])
        rest = rest[size:]
    assert split(*chunks, rest, limit=20) == split(data, limit=20)
