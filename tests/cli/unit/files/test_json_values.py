"""Values over several lines become rows without any of them being held beyond the limit."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptmill.cli.publish.files.json_values import ValueSplitter
from promptmill.cli.publish.files.splitting import RawLine

TEXT = st.text('ab\\"[]{},: \n', max_size=6)
VALUE = TEXT | st.integers(-9, 99) | st.lists(TEXT, max_size=2)
ROWS = st.lists(st.dictionaries(TEXT, VALUE, max_size=3), max_size=4)


def split(*chunks: bytes, limit: int = 1000) -> list[RawLine]:
    splitter = ValueSplitter(limit)
    rows = [row for chunk in chunks for row in splitter.feed(chunk)]
    assert not splitter.is_open
    return rows + splitter.end()


def written(rows: list[dict[str, Any]], *, array: bool, pretty: bool) -> bytes:
    option = orjson.OPT_INDENT_2 if pretty else 0
    if array:
        return orjson.dumps(rows, option=option)
    return b"\n".join(orjson.dumps(row, option=option) for row in rows)


@given(rows=ROWS, array=st.booleans(), pretty=st.booleans(), size=st.integers(1, 9))
def test_the_values_do_not_depend_on_the_chunks(
    rows: list[dict[str, Any]], array: bool, pretty: bool, size: int
) -> None:
    data = written(rows, array=array, pretty=pretty)
    found = split(*(data[at : at + size] for at in range(0, len(data), size)))
    assert [orjson.loads(row.content) for row in found if isinstance(row.content, bytes)] == rows
    assert [row.number for row in found] == list(range(1, len(rows) + 1))


def test_scalars_in_an_array_are_values_too() -> None:
    assert [row.content for row in split(b'[1, "a,]", {"b": [2]}, null]')] == [
        b"1",
        b'"a,]"',
        b'{"b": [2]}',
        b"null",
    ]


def test_what_follows_an_array_is_a_value_of_its_own() -> None:
    assert [row.content for row in split(b"[{}] rest")] == [b"{}", b"rest"]


def test_a_value_beyond_the_limit_is_counted_but_not_held() -> None:
    splitter = ValueSplitter(limit=10)
    assert splitter.feed(b'[{"a": "') == []
    for _ in range(1000):
        assert splitter.feed(b"x" * 1000) == []
        assert len(splitter._pieces._head) <= 10
    long, short = splitter.feed(b'"}, {}]')
    assert (long.size, long.is_cut, len(long.content)) == (1_000_009, True, 10)
    assert short.content == b"{}"
    assert not short.is_cut


@pytest.mark.parametrize("data", [b"[", b"[{}", b"[{},", b'{"a": 1', b'["a', b'[{"a": "]'])
def test_what_is_not_closed_is_noticed(data: bytes) -> None:
    splitter = ValueSplitter()
    splitter.feed(data)
    assert splitter.is_open
