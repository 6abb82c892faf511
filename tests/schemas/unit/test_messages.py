"""The roles and fields of turns, tools and references, and what is refused of them."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from promptmill_schemas import ContractError, Message, Prompt, ToolCall, decode, encode
from promptmill_schemas.base import validate
from promptmill_schemas.ids import text_digest
from promptmill_schemas.message import answer_digest
from promptmill_schemas.prompt_template import PromptTemplate

ASK = (Message(role="user", content="Why?"),)
PROMPT = orjson.loads(encode(Prompt.create("run", ASK)))
CALL = {"id": "c1", "type": "function", "function": {"name": "add", "arguments": '{"a":1}'}}
TOOL = {"type": "function", "function": {"name": "add", "parameters": {"default": None}}}


def message(**fields: Any) -> Message:
    return validate(Message, fields)


def refusal(**changes: Any) -> ContractError:
    with pytest.raises(ContractError) as caught:
        decode(Prompt, orjson.dumps({**PROMPT, **changes}))
    assert all((caught.value.limit, caught.value.remedy))
    return caught.value


def test_null_and_empty_columns_of_a_row_are_absent() -> None:
    nulls: dict[str, Any] = dict.fromkeys(("name", "tool_call_id", "reasoning_content"), "")
    row = message(role="user", content="Why?", tool_calls=[], **nulls)
    assert encode(row) == b'{"role":"user","content":"Why?"}'
    assert message(role="user", content="Why?", tool_calls=None, name=None) == row


def test_a_turn_that_calls_tools_needs_no_text() -> None:
    for content in ({}, {"content": None}, {"content": ""}):
        made = message(role="assistant", tool_calls=[CALL], **content)
        assert made.content == ""
    assert message(role="tool", tool_call_id="c1", content=None).content == ""


def test_the_arguments_of_a_call_may_be_an_object_and_are_kept_as_text() -> None:
    made = validate(ToolCall, {"function": {"name": "add", "arguments": {"a": 1}}})
    assert (made.id, made.type, made.function.arguments) == (None, "function", '{"a":1}')


@pytest.mark.parametrize(
    ("turn", "field", "limit"),
    [
        ({"role": "user", "content": None}, "content", "a text is required"),
        ({"role": "user", "content": ""}, "content", "a text is required"),
        ({"role": "developer"}, "content", "a text is required"),
        ({"role": "user", "content": "x", "tool_calls": [CALL]}, "tool_calls", "role assistant"),
        ({"role": "user", "content": "x", "tool_call_id": "c1"}, "tool_call_id", "role tool"),
        (
            {"role": "tool", "content": "x", "reasoning_content": "x"},
            "reasoning_content",
            "role assistant",
        ),
        (
            {"role": "assistant", "tool_calls": [{"id": "c1", "function": {"name": "add"}}]},
            "tool_calls.0.function.arguments",
            "required",
        ),
    ],
)
def test_a_turn_with_fields_of_another_role_is_refused(
    turn: dict[str, Any], field: str, limit: str
) -> None:
    error = refusal(messages=[turn, {"role": "user", "content": "Why?"}])
    assert error.field == f"messages.0.{field}"
    assert limit in error.limit


@pytest.mark.parametrize(
    ("changes", "field", "limit"),
    [
        ({"tools": [{"function": {"name": "add"}}]}, "tools.0.type", "a tool has a type"),
        ({"tools": [TOOL, {"type": "function"}]}, "tools.1.function", "with a name"),
        ({"tools": [{"type": "function", "function": {}}]}, "tools.0.function.name", "a name"),
        ({"tools": TOOL}, "tools", "valid list"),
        ({"chat_template_kwargs": {"a": [1, 2**63]}}, "chat_template_kwargs.a.1", "63 bits"),
        ({"extra_body": [1]}, "extra_body", "valid object"),
        ({"draw": 0}, "draw", "greater than or equal to 1"),
        ({"reference": {"answer": "x"}}, "reference", "discriminator 'kind'"),
        ({"reference": {"kind": "oracle"}}, "reference", "'unit_tests', 'schema', 'constraints'"),
        ({"reference": {"kind": "answer"}}, "reference.answer", "required"),
        ({"reference": {"kind": "unit_tests"}}, "reference.tests", "tests or cases"),
        ({"reference": "B"}, "reference", "object"),
    ],
)
def test_a_wrong_tool_or_reference_is_named(
    changes: dict[str, Any], field: str, limit: str
) -> None:
    error = refusal(**changes)
    assert error.field == field
    assert limit in error.limit


def test_what_changes_the_answers_is_part_of_the_id_and_labels_are_not() -> None:
    kwargs = {"enable_thinking": False}
    made = [
        Prompt.create("run", ASK),
        Prompt.create("run", ASK, tools=(TOOL,)),
        Prompt.create("run", ASK, chat_template_kwargs=kwargs),
        Prompt.create("run", ASK, extra_body=kwargs),
        Prompt.create("run", ASK, draw=1),
        Prompt.create("run", (Message(role="user", content="Why?", name="ada"),)),
    ]
    assert len({prompt.prompt_id for prompt in made}) == len(made)
    for prompt in made:
        assert decode(Prompt, encode(prompt)) == prompt
    labelled = Prompt.create("run", ASK, category="math", licence="CC0-1.0", tools=(), draw=None)
    assert labelled.prompt_id == made[0].prompt_id


def test_the_ids_with_optional_fields_stay_as_they_are() -> None:
    prompt = Prompt.create("run", ASK, tools=(TOOL,), adapter="lora", draw=2)
    assert prompt.prompt_id == "265305ec8b267431966133c21d32de08"
    calls = (validate(ToolCall, CALL),)
    assert answer_digest("", calls) == "481cf98b283b01d74ae941c03ab0f822"


def test_the_digest_of_an_answer_without_calls_is_that_of_its_text() -> None:
    assert answer_digest("Four.") == text_digest("Four.")
    other = (validate(ToolCall, {**CALL, "id": "drawn at random"}),)
    assert answer_digest("", (validate(ToolCall, CALL),)) == answer_digest("", other)


@pytest.mark.parametrize(
    ("value", "text"),
    [(7, "7"), (0.5, "0.5"), (True, "true"), (False, "false"), ("", ""), (1e300, "1e+300")],
)
def test_a_tag_may_be_a_number_or_a_truth_value(value: Any, text: str) -> None:
    made = decode(Prompt, orjson.dumps({**PROMPT, "tags": {"a": value, "b": None}}))
    assert made.tags == {"a": text}


def test_a_template_fills_in_prompts_with_the_same_options() -> None:
    options: dict[str, Any] = {
        "tools": (TOOL,),
        "draw": 3,
        "category": "2000-01-01T00:00:00Z",
        "chat_template_kwargs": {"enable_thinking": True},
    }
    prompt_id, raw, _ = PromptTemplate("run", **options).fill("Why?")
    made = decode(Prompt, raw)
    expected = Prompt.create("run", ASK, created_at=made.created_at, **options)
    assert (made, made.prompt_id) == (expected, prompt_id)
