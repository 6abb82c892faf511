"""Each form of a line becomes the prompt it means; a wrong line names what is wrong."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptmill.cli.counts import CUSTOM_ID
from promptmill.cli.publish.files.splitting import LineSplitter, RawLine
from promptmill.cli.publish.lines import Defaults, parse_line, too_long
from promptmill_schemas import ContractError, Prompt, Sampling, StructuredOutput
from promptmill_schemas.limits import MAX_PROMPT_BYTES

DATA = Path(__file__).resolve().parents[3] / "data"
DEFAULTS = Defaults("run", n=2, sampling=Sampling(temperature=0.5, max_tokens=64))


def prompt(**line: Any) -> Prompt:
    return parse_line(orjson.dumps(line), DEFAULTS)


def batch(**body: Any) -> Prompt:
    """A batch request with one message and these fields."""
    body.setdefault("messages", [{"role": "user", "content": "Why?"}])
    frame = {"custom_id": "c-1", "method": "POST", "url": "/v1/chat/completions"}
    return prompt(**frame, body=body)


def refusal(raw: bytes | dict[str, Any]) -> ContractError:
    with pytest.raises(ContractError) as caught:
        parse_line(raw if isinstance(raw, bytes) else orjson.dumps(raw), DEFAULTS)
    return caught.value


def raw_of(line: RawLine) -> bytes:
    assert isinstance(line.content, bytes)
    return line.content


def lines_of(path: Path) -> list[bytes]:
    splitter = LineSplitter()
    return [raw_of(line) for line in [*splitter.feed(path.read_bytes()), *splitter.end()]]


def test_a_prompt_is_a_users_message() -> None:
    made = prompt(prompt="Why?")
    assert [(m.role, m.content) for m in made.messages] == [("user", "Why?")]
    assert (made.run, made.n, made.sampling) == ("run", 2, DEFAULTS.sampling)


def test_a_prompt_and_a_message_that_ask_the_same_have_one_id() -> None:
    messages = [{"role": "user", "content": "Why?"}]
    assert prompt(prompt="Why?").prompt_id == prompt(messages=messages).prompt_id


def test_a_line_overrides_the_defaults_setting_by_setting() -> None:
    made = prompt(prompt="Why?", n=3, sampling={"max_tokens": 9, "stop": ["."]})
    assert (made.n, made.sampling.temperature, made.sampling.max_tokens) == (3, 0.5, 9)
    assert made.sampling.stop == (".",)


def test_a_line_may_set_a_setting_back_to_its_own_default() -> None:
    assert prompt(prompt="Why?", sampling={"temperature": 1.0}).sampling.temperature == 1.0


def test_a_byte_order_mark_within_a_file_that_was_put_together_does_no_harm() -> None:
    raw = b'\xef\xbb\xbf{"prompt": "Q"}'
    assert parse_line(raw, Defaults("run")).messages[0].content == "Q"


def test_text_that_is_not_in_utf_8_is_named() -> None:
    with pytest.raises(ContractError) as caught:
        parse_line({"prompt": "\udce9"}, Defaults("run"))
    assert "UTF-8" in caught.value.remedy


def test_null_stands_for_an_absent_field() -> None:
    nulls = dict.fromkeys(("n", "sampling", "tags", "adapter", "id", "messages", "prompt_id"))
    assert prompt(prompt="Why?", **nulls).prompt_id == prompt(prompt="Why?").prompt_id


def test_tags_of_the_line_win_over_tags_of_the_command() -> None:
    defaults = Defaults("run", tags={"source": "flag", "batch": "7"})
    made = parse_line(b'{"prompt": "Why?", "tags": {"source": "line"}}', defaults)
    assert made.tags == {"source": "line", "batch": "7"}


@pytest.mark.parametrize("line", [{"id": "q-1"}, {"custom_id": "q-1"}, {"id": "7"}, {"id": 7}])
def test_an_id_of_the_users_own_is_kept_as_a_tag(line: dict[str, Any]) -> None:
    assert prompt(prompt="Why?", **line).tags == {CUSTOM_ID: str(next(iter(line.values())))}


def test_the_adapter_of_a_line_is_part_of_its_id() -> None:
    assert prompt(prompt="Why?", adapter="lora").prompt_id != prompt(prompt="Why?").prompt_id


def test_a_line_may_carry_the_id_that_fits_its_content() -> None:
    made = prompt(prompt="Why?")
    assert prompt(prompt="Why?", prompt_id=made.prompt_id).prompt_id == made.prompt_id


def test_an_id_that_belongs_to_other_content_is_refused() -> None:
    other = prompt(prompt="How?").prompt_id
    error = refusal({"prompt": "Why?", "prompt_id": other})
    assert error.field == "prompt_id"
    assert prompt(prompt="Why?").prompt_id in error.limit


def test_every_setting_of_a_batch_request_is_kept() -> None:
    made = batch(
        model="m",
        temperature=0.25,
        top_p=0.75,
        n=3,
        max_completion_tokens=9,
        stop="END",
        seed=11,
        presence_penalty=0.5,
        frequency_penalty=-0.5,
        logprobs=True,
        top_logprobs=0,
        user=None,
        metadata={"family": "code"},
    )
    assert made.sampling == Sampling(
        temperature=0.25,
        top_p=0.75,
        max_tokens=9,
        stop=("END",),
        seed=11,
        presence_penalty=0.5,
        frequency_penalty=-0.5,
        logprobs=True,
    )
    assert (made.n, made.tags) == (3, {"family": "code", CUSTOM_ID: "c-1"})


def test_the_defaults_hold_for_a_batch_request_too() -> None:
    assert batch().sampling == DEFAULTS.sampling
    assert batch().n == 2


@pytest.mark.parametrize(
    ("response_format", "structured"),
    [
        ({"type": "text"}, None),
        ({"type": "json_object"}, StructuredOutput(json_object=True)),
        (
            {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "array"}}},
            StructuredOutput(json_schema={"type": "array"}),
        ),
    ],
)
def test_a_response_format_becomes_a_constraint(
    response_format: dict[str, Any], structured: StructuredOutput | None
) -> None:
    assert batch(response_format=response_format).sampling.structured == structured


def test_text_parts_are_joined_and_developer_means_system() -> None:
    parts = [{"type": "text", "text": "Wh"}, {"type": "text", "text": "y?"}]
    made = batch(
        messages=[
            {"role": "developer", "content": "Be brief.", "name": None},
            {"role": "user", "content": parts},
        ]
    )
    assert [(m.role, m.content) for m in made.messages] == [
        ("system", "Be brief."),
        ("user", "Why?"),
    ]


@pytest.mark.parametrize(
    ("body", "field", "remedy"),
    [
        ({"temperature": 3}, "body.temperature", "within the limit"),
        ({"max_completion_tokens": 0}, "body.max_completion_tokens", "within the limit"),
        ({"max_tokens": 5, "max_completion_tokens": 6}, "body.max_tokens", "keep only one"),
        ({"n": 10_000}, "body.n", "within the limit"),
        ({"functions": []}, "body.functions", "remove the field"),
        ({"metadata": {"year": [1]}}, "body.metadata.year", "expected type"),
        ({"response_format": {"type": "xml"}}, "body.response_format", "one of these types"),
        ({"response_format": "json"}, "body.response_format", "one of these types"),
        ({"messages": []}, "body.messages", "at least one"),
        ({"messages": "Why?"}, "body.messages", "expected type"),
        ({"messages": ["Why?"]}, "body.messages.0", "JSON object"),
        (
            {"messages": [{"role": "function", "content": "x"}]},
            "body.messages.0.role",
            "one of the allowed values",
        ),
        (
            {"messages": [{"role": "user", "content": [{"type": "image_url"}]}]},
            "body.messages.0.content",
            "expected type",
        ),
    ],
)
def test_an_error_names_the_field_of_the_batch_request(
    body: dict[str, Any], field: str, remedy: str
) -> None:
    with pytest.raises(ContractError) as caught:
        batch(**body)
    assert caught.value.field == field
    assert remedy in caught.value.remedy
    assert str(caught.value).startswith(f"{field} is ")


def test_nan_in_a_batch_request_is_refused_by_its_own_name() -> None:
    raw = orjson.dumps(
        {
            "custom_id": "c",
            "method": "POST",
            "url": "/v1/chat/completions",
            "body": {"messages": [{"role": "user", "content": "x"}], "top_p": 0.125},
        }
    )
    error = refusal(raw.replace(b"0.125", b"NaN"))
    assert (error.field, error.value) == ("body.top_p", "nan")


EXPECTED = {
    1: ("", "one JSON document"),
    2: ("", "a line must be one JSON object"),
    3: ("question", "not permitted"),
    4: ("prompt", "at least 1 character"),
    5: ("prompt", "valid string"),
    6: ("messages", "at least 1 item"),
    7: ("messages", "valid list"),
    8: ("messages.0.role", "'system', 'developer', 'user', 'assistant' or 'tool'"),
    9: ("messages.0.content", "required"),
    10: ("messages.0.role", "must not come from the assistant"),
    11: ("sampling.temperature", "finite number"),
    12: ("sampling.temperature", "less than or equal to 2"),
    13: ("sampling.max_tokens", "greater than or equal to 1"),
    14: ("n", "greater than or equal to 1"),
    15: ("n", "less than or equal to 128"),
    16: ("n", "valid integer"),
    17: ("tags.year", "valid string"),
    18: ("", "byte 39 is 0xff"),
    19: ("url", "'/v1/chat/completions'"),
    20: ("body.messages", "needs messages"),
}


def test_there_is_an_expectation_for_each_shipped_bad_line() -> None:
    assert len(lines_of(DATA / "examples" / "invalid.jsonl")) == len(EXPECTED)


@pytest.mark.parametrize("number", EXPECTED)
def test_each_shipped_bad_line_is_refused_for_its_reason(number: int) -> None:
    error = refusal(lines_of(DATA / "examples" / "invalid.jsonl")[number - 1])
    field, limit = EXPECTED[number]
    assert error.field == field
    assert limit in error.limit
    assert error.value
    assert error.remedy


@pytest.mark.parametrize(
    ("name", "count"),
    [
        ("prompts.jsonl", 250),
        ("examples/prompts-plain.jsonl", 3),
        ("examples/prompts-messages.jsonl", 3),
        ("examples/openai-batch.jsonl", 3),
    ],
)
def test_every_shipped_good_line_becomes_a_prompt_of_its_own(name: str, count: int) -> None:
    prompts = [parse_line(line, DEFAULTS) for line in lines_of(DATA / name)]
    assert len({made.prompt_id for made in prompts}) == count


@pytest.mark.parametrize(
    ("line", "field"),
    [
        ({"prompt": "Why?", "messages": [{"role": "user", "content": "x"}]}, "prompt"),
        ({}, "prompt"),
        ({"prompt": "Why?", "temperature": 0.5}, "temperature"),
        ({"prompt": "Why?", "sampling": {"temprature": 0.5}}, "sampling.temprature"),
        ({"prompt": "Why?", "sampling": []}, "sampling"),
        ({"prompt": "Why?", "id": ""}, "id"),
        ({"prompt": "Why?", "id": True}, "id"),
        ({"prompt": "Why?", "id": "a", "custom_id": "b"}, "id"),
        ({"prompt": "Why?", "tags": {str(i): "x" for i in range(65)}}, "tags"),
        ({"prompt": "Why?", "prompt_id": "x"}, "prompt_id"),
        ({"prompt": "Why?", "run": "other"}, "run"),
    ],
)
def test_a_plain_line_that_contradicts_itself_is_refused(line: dict[str, Any], field: str) -> None:
    assert refusal(line).field == field


def test_a_line_of_5_mb_is_refused_with_its_size() -> None:
    error = refusal(b'{"prompt": "' + b"x" * 5_000_000 + b'"}')
    assert str(MAX_PROMPT_BYTES) in error.limit
    assert "5000014" in error.limit
    assert len(str(error)) < 300
    assert str(too_long(b"x" * 100, 5_000_014)).endswith(error.limit + "; " + error.remedy)


@given(raw=st.binary(max_size=80))
def test_any_bytes_are_a_prompt_or_a_contract_error(raw: bytes) -> None:
    with pytest.raises(ContractError):
        parse_line(raw, DEFAULTS)


json_values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=6,
)
FIELDS = st.sampled_from(
    ["prompt", "messages", "n", "sampling", "tags", "id", "adapter", "prompt_id", "body", "url"]
)


@given(fields=st.dictionaries(FIELDS, json_values, max_size=4))
def test_any_values_in_the_known_fields_are_a_prompt_or_a_contract_error(
    fields: dict[str, Any],
) -> None:
    with suppress(ContractError):
        assert prompt(**fields).run == "run"
