"""What refusals teach about a server, and how a request is worded afterwards."""

from __future__ import annotations

from typing import Any

import pytest

from promptmill.inference.http.abilities import Abilities, read_abilities
from promptmill.runtime.errors import Misconfigured

BODY: dict[str, Any] = {
    "model": "m",
    "seed": (1 << 63) - 1,
    "temperature": 0.7,
    "top_p": 0.9,
    "max_tokens": 64,
}
SCHEMA = {"type": "json_schema", "json_schema": {"name": "answer", "schema": {"type": "object"}}}


def test_without_refusals_a_request_is_sent_as_it_is() -> None:
    assert Abilities().adapt(BODY) == BODY


@pytest.mark.parametrize(
    ("refusal", "setting"),
    [
        ("Invalid value at 'generation_config.seed' (TYPE_INT32)", "seed=31"),
        (
            "Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens'.",
            "limit=max_completion_tokens",
        ),
        ("`temperature` and `top_p` cannot both be specified", "chance=temperature"),
        ("'temperature' does not support 0.7, only the default (1)", "chance=none"),
        ("This model only support stream mode, please enable the stream parameter", "stream=yes"),
        ("Streaming is required for this model", "stream=yes"),
        ("enable_thinking must be set to false for non-streaming calls", "stream=yes"),
        ("response_format.type json_schema is not supported", "json=object"),
    ],
)
def test_a_refusal_that_names_a_field_teaches_how_to_ask(refusal: str, setting: str) -> None:
    learned = Abilities().after(refusal, BODY | {"response_format": SCHEMA})
    assert learned is not None
    assert learned.as_setting() == setting


@pytest.mark.parametrize(
    "refusal",
    [
        "messages.0 is too odd",
        "max_tokens is too large for the context length",
        "maximum context length is 8 tokens",
    ],
)
def test_a_refusal_of_the_content_teaches_nothing(refusal: str) -> None:
    assert Abilities().after(refusal, BODY) is None


def test_a_seed_is_shortened_first_and_omitted_then() -> None:
    short = Abilities().after("seed is too large", BODY)
    assert short is not None
    assert short.adapt(BODY)["seed"] == (1 << 31) - 1
    none = short.after("seed is unknown", BODY)
    assert none is not None
    assert "seed" not in none.adapt(BODY)
    assert none.after("seed", none.adapt(BODY)) is None


def test_the_limit_has_the_other_name() -> None:
    adapted = Abilities(limit="max_completion_tokens").adapt(BODY)
    assert adapted["max_completion_tokens"] == 64
    assert "max_tokens" not in adapted


@pytest.mark.parametrize(
    ("temperature", "top_p", "kept"),
    [(0.7, 0.9, "temperature"), (0.7, 1.0, "temperature"), (1.0, 0.9, "top_p")],
)
def test_of_temperature_and_top_p_the_one_that_has_an_effect_is_kept(
    temperature: float, top_p: float, kept: str
) -> None:
    body = BODY | {"temperature": temperature, "top_p": top_p}
    adapted = Abilities(chance="temperature").adapt(body)
    assert {"temperature", "top_p"} & set(adapted) == {kept}


def test_a_schema_becomes_any_object_and_then_nothing() -> None:
    body = BODY | {"response_format": SCHEMA}
    assert Abilities(json="object").adapt(body)["response_format"] == {"type": "json_object"}
    assert "response_format" not in Abilities(json="none").adapt(body)
    assert "response_format" not in Abilities(json="object").adapt(BODY)


def test_a_stream_is_asked_for_with_its_counts_where_they_are_known() -> None:
    streamed = Abilities(stream="yes")
    assert streamed.adapt(BODY)["stream_options"] == {"include_usage": True}
    plain = streamed.after("unknown field stream_options", streamed.adapt(BODY))
    assert plain is not None
    assert plain.adapt(BODY)["stream"] is True
    assert "stream_options" not in plain.adapt(BODY)


def test_what_two_requests_have_learned_is_kept_together() -> None:
    before = Abilities()
    first = before.merged(before, Abilities(seed="31"))
    assert first.merged(before, Abilities(json="object")) == Abilities(seed="31", json="object")


def test_the_alternatives_change_one_thing_each_and_then_several() -> None:
    settings = [each.as_setting() for each in Abilities().alternatives()]
    assert settings[:2] == ["seed=31", "seed=none"]
    assert settings[-2] == "seed=none,chance=none,json=none"
    assert settings[-1] == "seed=none,chance=none,stream=yes,json=none"
    assert len(settings) == len(set(settings))


def test_the_setting_names_abilities_and_refuses_others_with_the_choices() -> None:
    assert read_abilities({"seed": "31", "stream": "yes"}) == Abilities(seed="31", stream="yes")
    with pytest.raises(
        Misconfigured, match="it can have seed, limit, chance, stream, json, thinking"
    ):
        read_abilities({"sed": "31"})
    with pytest.raises(Misconfigured, match="seed can be 63, 31, none"):
        read_abilities({"seed": "32"})
