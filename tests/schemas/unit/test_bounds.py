"""Small messages that would take a worker's stack, memory or time are refused as bytes."""

from __future__ import annotations

import time
import tracemalloc
from datetime import UTC, datetime
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptmill_schemas import (
    TOPICS,
    ContractError,
    DeadLetter,
    Message,
    Prompt,
    Topic,
    decode,
    encode,
)
from promptmill_schemas.errors import shorten
from promptmill_schemas.json_bounds import check_bounds
from promptmill_schemas.limits import MAX_MESSAGE_BYTES, MAX_MESSAGE_DEPTH, MAX_VALUES

PROMPT = orjson.loads(encode(Prompt.create("run", (Message(role="user", content="Why?"),))))
each_topic = pytest.mark.parametrize("topic", TOPICS, ids=[topic.name for topic in TOPICS])

BOMBS = {
    "lists": b"[" * 1000 + b"]" * 1000,
    "objects": b'{"a":' * 1000 + b"1" + b"}" * 1000,
    "inside a field": b'{"messages":' + b"[" * 900 + b"]" * 900 + b"}",
    "with NaN": b"[" * 180 + b"NaN" + b"]" * 180,
    "never closed": b"[" * 100_000,
    "closed too often": b"]" * MAX_MESSAGE_BYTES,
    "many numbers": b'{"messages":[' + b"1," * 400_000 + b"1]}",
    "many wrong items": b'{"messages":[' + b"1," * 100_000 + b"1]}",
    "many empty lists": b"[" + b"[]," * 2_000_000 + b"[]]",
    "many strings": b"[" + b'"",' * 2_000_000 + b'""]',
    "many unknown fields": orjson.dumps({f"k{i}": i for i in range(120_000)}),
    "many wrong tags": orjson.dumps({**PROMPT, "tags": {str(i): i for i in range(100_000)}}),
    "a long name": orjson.dumps({**PROMPT, "tags": {"x" * 4_000_000: [1]}}),
    "a large integer": b'{"n":' + b"9" * 4299 + b',"x":NaN}',
    "a number of many digits": b'{"n":' + b"9" * 500_000 + b"}",
    "a lone surrogate": rb'{"run":"\ud800"}',
    "not UTF-8": b'{"run":"\xff\xfe"}',
    "a null character": rb'{"run":"\u0000"}',
    "a list as name": b"{[1]:1}",
}


@each_topic
@pytest.mark.parametrize("raw", BOMBS.values(), ids=BOMBS)
def test_a_bomb_is_refused_quickly_and_in_little_memory(topic: Topic, raw: bytes) -> None:
    tracemalloc.start()
    began = time.process_time()
    try:
        with pytest.raises(ContractError) as caught:
            decode(topic.contract, raw)
        took, (_, peak) = time.process_time() - began, tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(str(caught.value)) < 1000
    assert len(repr(caught.value)) < 1000
    assert peak < 16 * MAX_MESSAGE_BYTES
    assert took < 5.0  # tracing makes it many times slower


@pytest.mark.parametrize("opening", [b"[", b'{"a":'])
def test_the_limit_of_depth_is_exact(opening: bytes) -> None:
    closing = b"]" if opening == b"[" else b"}"
    check_bounds(opening * MAX_MESSAGE_DEPTH + b"1" + closing * MAX_MESSAGE_DEPTH)
    too_deep = MAX_MESSAGE_DEPTH + 1
    with pytest.raises(ContractError, match=f"at most {MAX_MESSAGE_DEPTH} levels"):
        check_bounds(opening * too_deep + b"1" + closing * too_deep)


def test_brackets_and_commas_in_a_text_are_no_structure() -> None:
    text = '[{,"\\' * 300_000
    check_bounds(orjson.dumps({"prompt": text, "tags": [text[:50], {}]}))


@given(
    st.recursive(
        st.text('[]{}",:\\x', max_size=9) | st.integers(0, 9),
        lambda inner: (
            st.lists(inner, max_size=4)
            | st.dictionaries(st.text('"\\[{x', max_size=3), inner, max_size=4)
        ),
        max_leaves=20,
    )
)
def test_the_depth_found_in_the_bytes_is_that_of_the_value(value: Any) -> None:
    def wrapped(levels: int) -> bytes:
        return b"[" * levels + orjson.dumps(value, default=str) + b"]" * levels

    room = MAX_MESSAGE_DEPTH - depth_of(value)
    check_bounds(wrapped(room))
    with pytest.raises(ContractError):
        check_bounds(wrapped(room + 1))


def depth_of(value: Any) -> int:
    """Levels of lists and objects."""
    if not isinstance(value, list | dict):
        return 0
    inner = value.values() if isinstance(value, dict) else value
    return 1 + max(map(depth_of, inner), default=0)


def test_the_largest_number_of_values_is_read() -> None:
    assert decode(Prompt, orjson.dumps(PROMPT))
    check_bounds(orjson.dumps([1] * (MAX_VALUES - 1)))
    with pytest.raises(ContractError, match=f"at most {MAX_VALUES} JSON values"):
        check_bounds(orjson.dumps([1] * (MAX_VALUES + 1)))


@pytest.mark.parametrize(
    "moment", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "1700-01-01T00:00:00Z"]
)
def test_a_time_that_no_reader_of_a_table_could_show_is_refused(moment: str) -> None:
    with pytest.raises(ContractError, match="between the years 1701 and 2260"):
        decode(Prompt, orjson.dumps({**PROMPT, "created_at": moment}))


def test_an_error_never_writes_out_a_large_value() -> None:
    deep: Any = []
    for _ in range(100_000):
        deep = [deep]
    many: list[Any] = [[1] * 10**6, {i: i for i in range(10**5)}, 10**6000, "x" * 10**6]
    for value in (deep, {"a": deep}, *many):
        assert len(shorten(value)) < 200


def test_an_error_of_another_name_shows_the_same_value() -> None:
    error = ContractError("a", "x" * 500, "limit", "remedy")
    assert error.renamed("b").value == error.value
    assert "500 characters" in error.value


def test_what_the_bounds_leave_of_a_dead_letter_is_read() -> None:
    letter = DeadLetter(
        letter_id="0" * 32,
        stage="reward",
        topic="completions",
        partition=0,
        offset=1,
        reason="poison",
        detail="[" * 2000,
        attempts=1,
        created_at=datetime.now(UTC),
    )
    assert decode(DeadLetter, encode(letter)) == letter
