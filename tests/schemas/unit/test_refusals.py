"""Bad input is refused with the field, its value, the limit and a remedy."""

from __future__ import annotations

import gc
from contextlib import suppress
from typing import Any
from weakref import ref

import orjson
import pytest

from promptmill_schemas import Completion, ContractError, Message, Prompt, decode, encode
from promptmill_schemas.base import validate
from promptmill_schemas.limits import MAX_MESSAGE_BYTES

PROMPT = Prompt.create("run", (Message(role="user", content="Why?"),))


def refusal(raw: bytes | None) -> ContractError:
    """The error with which ``raw`` is refused as a prompt; its parts all say something."""
    with pytest.raises(ContractError) as caught:
        decode(Prompt, raw)
    error = caught.value
    assert all((error.value, error.limit, error.remedy))
    assert str(error) == f"{error.field or 'message'} is {error.value}: {error.limit}; " + (
        error.remedy
    )
    return error


def with_changes(**changes: Any) -> bytes:
    """The bytes of a good prompt with some fields changed."""
    return orjson.dumps({**orjson.loads(encode(PROMPT)), **changes})


@pytest.mark.parametrize(
    ("changes", "field", "value", "limit"),
    [
        ({"n": 0}, "n", "0", "greater than or equal to 1"),
        ({"n": 10_000}, "n", "10000", "less than or equal to 128"),
        ({"n": "3"}, "n", "'3'", "valid integer"),
        ({"n": True}, "n", "True", "valid integer"),
        ({"messages": []}, "messages", "[]", "at least 1 item"),
        ({"messages": "Why?"}, "messages", "'Why?'", "valid list"),
        ({"messages": [{"role": "user"}]}, "messages.0.content", "missing", "required"),
        (
            {"messages": [{"role": "wizard", "content": "x"}]},
            "messages.0.role",
            "'wizard'",
            "'system', 'developer', 'user', 'assistant' or 'tool'",
        ),
        (
            {"messages": [{"role": "assistant", "content": "x"}]},
            "messages.0.role",
            "'assistant'",
            "the last message must not come from the assistant",
        ),
        ({"sampling": {"temperature": 3.5}}, "sampling.temperature", "3.5", "equal to 2"),
        ({"sampling": {"max_tokens": 0}}, "sampling.max_tokens", "0", "equal to 1"),
        ({"sampling": {"seed": -1}}, "sampling.seed", "-1", "equal to 0"),
        (
            {"sampling": {"structured": {"regex": "a", "choice": ["b"]}}},
            "sampling.structured",
            "['regex', 'choice']",
            "exactly one",
        ),
        ({"run": "no spaces"}, "run", "'no spaces'", "match pattern"),
        ({"tags": {"year": [1931]}}, "tags.year", "[1931]", "valid string"),
        ({"schema_version": 2, "n": 0}, "schema_version", "2", "reads version 1"),
        ({"prompt_id": "0" * 32}, "prompt_id", f"'{'0' * 32}'", PROMPT.prompt_id),
        ({"created_at": "2026-01-01T00:00:00"}, "created_at", "'2026-01-01T00:00:00'", "timezone"),
    ],
)
def test_a_wrong_field_is_named_with_its_value_and_limit(
    changes: dict[str, Any], field: str, value: str, limit: str
) -> None:
    error = refusal(with_changes(**changes))
    assert (error.field, error.value) == (field, value)
    assert limit in error.limit


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_a_number_that_is_not_finite_is_refused_by_the_name_of_its_field(number: str) -> None:
    raw = with_changes(sampling={"temperature": 0.125}).replace(b"0.125", number.encode())
    error = refusal(raw)
    assert error.field == "sampling.temperature"
    assert "finite number" in error.limit


@pytest.mark.parametrize(
    ("schema", "field", "limit"),
    [
        (b'{"a": [1, NaN]}', ".a.1", "finite"),
        (b'{"a": NaN, "b": 123456789012345678901234567890}', ".a", "finite"),
        (b'{"b": 123456789012345678901234567890, "a": NaN}', ".b", "63 bits"),
        (b'{"a":' * 80 + b"1" + b"}" * 80, "", "64 levels"),
    ],
)
def test_a_json_schema_that_json_cannot_carry_is_refused(
    schema: bytes, field: str, limit: str
) -> None:
    raw = with_changes(sampling={"structured": {"json_schema": {"here": 1}}})
    error = refusal(raw.replace(b'{"here":1}', schema))
    assert error.field == f"sampling.structured.json_schema{field}"
    assert limit in error.limit


def test_bytes_that_are_not_utf8_are_refused_with_their_place() -> None:
    error = refusal(b'{"prompt": "\xff"}')
    assert "byte 12 is 0xff" in error.limit
    assert "UTF-8" in error.remedy


@pytest.mark.parametrize("raw", [b"", b"{", b"nonsense", b'{"a": 1} {"b": 2}', b"{'a': 1}"])
def test_bytes_that_are_not_json_are_refused(raw: bytes) -> None:
    error = refusal(raw)
    assert "JSON" in error.limit
    assert error.remedy == "send valid JSON"


def test_a_message_without_a_value_is_refused() -> None:
    assert refusal(None).value == "None"


@pytest.mark.parametrize("raw", [b"[1]", b"null", b"3", b'"text"'])
def test_json_that_is_not_an_object_is_refused(raw: bytes) -> None:
    assert "JSON object" in refusal(raw).limit


def test_a_message_beyond_the_limit_of_a_topic_is_refused_without_being_parsed() -> None:
    error = refusal(b" " * (MAX_MESSAGE_BYTES + 1))
    assert str(MAX_MESSAGE_BYTES) in error.limit
    assert len(str(error)) < 500


def test_a_wrong_value_is_told_before_a_missing_field() -> None:
    assert refusal(b'{"prompt": "Why?", "n": 0}').field == "n"
    assert refusal(b'{"prompt": "Why?"}').field == "prompt_id"


def test_a_completion_without_all_candidates_is_refused() -> None:
    raw = orjson.dumps(
        {
            "prompt": orjson.loads(encode(Prompt.create("run", PROMPT.messages, n=2))),
            "candidates": [
                {
                    "index": 0,
                    "text": "",
                    "finish_reason": "stop",
                    "prompt_tokens": 1,
                    "completion_tokens": 0,
                    "seed": 1,
                    "digest": "0" * 32,
                }
            ],
            "generator": {"engine": "e", "model": "m"},
            "timings": {"started_at": "2026-01-01T00:00:00Z", "work_s": 1.0},
        }
    )
    with pytest.raises(
        ContractError, match=r"candidates\.index is \[0\]: the indexes must run from 0 to 1"
    ):
        decode(Completion, raw)


class Parsed(dict[str, Any]):
    """A parsed message that can be watched."""


@pytest.mark.parametrize(
    "changes",
    [{"n": 0}, {"prompt_id": "0" * 32}, {"tags": {"key": "x" * 5_000}}, {"schema_version": 2}],
    ids=["by pydantic", "by the contract", "by a field", "by its version"],
)
def test_a_refused_message_is_let_go(changes: dict[str, Any]) -> None:
    """Pydantic's error is no cycle's part: Python's collector cannot look into it."""
    parsed = Parsed(orjson.loads(with_changes(**changes)))
    watched = ref(parsed)
    with suppress(ContractError):
        validate(Prompt, parsed)
    del parsed
    gc.collect()
    assert watched() is None
