"""Sampling in the words of each kind of server."""

from __future__ import annotations

from typing import Any

import pytest

from promptmill.inference.http.dialect import sampling_fields
from promptmill.inference.http.options import Server
from promptmill.runtime.errors import Poison
from promptmill_schemas import Sampling, StructuredOutput

SCHEMA: dict[str, Any] = {"type": "object", "properties": {"a": {"type": "integer"}}}
EVERYTHING = Sampling(
    temperature=0.5,
    top_p=0.9,
    top_k=40,
    min_p=0.1,
    max_tokens=64,
    stop=("END",),
    presence_penalty=0.5,
    frequency_penalty=-0.5,
    repetition_penalty=1.1,
)
EXTENSIONS = {"top_k": 40, "min_p": 0.1, "repetition_penalty": 1.1}
SERVERS: list[Server] = ["vllm", "sglang", "trtllm", "nim", "generic"]


def structured(server: Server, **form: Any) -> dict[str, Any]:
    sampling = Sampling(structured=StructuredOutput(**form))
    return sampling_fields(server, sampling, 1)


@pytest.mark.parametrize("server", SERVERS)
def test_every_field_of_a_sampling_is_sent(server: Server) -> None:
    fields = sampling_fields(server, EVERYTHING, seed=2**62)
    said = fields | fields.pop("nvext", {})
    expected = {
        "temperature": 0.5,
        "top_p": 0.9,
        "max_tokens": 64,
        "seed": 2**62,
        "stop": ["END"],
        "presence_penalty": 0.5,
        "frequency_penalty": -0.5,
    }
    assert said == expected | EXTENSIONS


def test_nim_takes_extensions_in_their_own_object() -> None:
    assert sampling_fields("nim", EVERYTHING, 1)["nvext"] == EXTENSIONS


@pytest.mark.parametrize("server", ["vllm", "sglang"])
def test_a_server_with_defaults_of_its_own_is_told_the_neutral_values(server: Server) -> None:
    fields = sampling_fields(server, Sampling(), 1)
    assert (fields["top_k"], fields["min_p"], fields["repetition_penalty"]) == (-1, 0.0, 1.0)


def test_openai_gets_its_own_name_for_the_limit_and_no_field_that_it_refuses() -> None:
    assert sampling_fields("openai", Sampling(max_tokens=9), 1) == {
        "temperature": 1.0,
        "top_p": 1.0,
        "seed": 1,
        "max_completion_tokens": 9,
    }


def test_what_a_server_cannot_be_told_is_poison_with_the_fields_name() -> None:
    with pytest.raises(Poison, match=r"sampling\.top_k, min_p, repetition_penalty .* --server"):
        sampling_fields("openai", EVERYTHING, 1)


@pytest.mark.parametrize("server", ["vllm", "sglang", "trtllm", "openai", "generic"])
def test_a_json_schema_travels_as_response_format(server: Server) -> None:
    form = structured(server, json_schema=SCHEMA)["response_format"]
    assert form["type"] == "json_schema"
    assert form["json_schema"]["schema"] == SCHEMA
    assert form["json_schema"].get("strict", False) is (server == "openai")


@pytest.mark.parametrize(
    ("server", "form", "fields"),
    [
        ("vllm", {"regex": "a+"}, {"structured_outputs": {"regex": "a+"}}),
        ("vllm", {"choice": ("x", "y.")}, {"structured_outputs": {"choice": ["x", "y."]}}),
        ("sglang", {"regex": "a+"}, {"regex": "a+"}),
        ("sglang", {"choice": ("x", "y.")}, {"regex": r"(x|y\.)"}),
        ("trtllm", {"regex": "a+"}, {"response_format": {"type": "regex", "regex": "a+"}}),
        ("nim", {"regex": "a+"}, {"nvext": {"guided_regex": "a+"}}),
        ("nim", {"choice": ("x",)}, {"nvext": {"guided_choice": ["x"]}}),
        ("nim", {"json_schema": SCHEMA}, {"nvext": {"guided_json": SCHEMA}}),
        ("nim", {"json_object": True}, {"nvext": {"guided_json": {"type": "object"}}}),
        ("vllm", {"json_object": True}, {"response_format": {"type": "json_object"}}),
        ("generic", {"json_object": True}, {"response_format": {"type": "json_object"}}),
    ],
)
def test_each_server_is_told_of_a_form_in_its_own_way(
    server: Server, form: dict[str, Any], fields: dict[str, Any]
) -> None:
    said = structured(server, **form)
    assert {name: said[name] for name in fields} == fields


@pytest.mark.parametrize("server", ["vllm", "openai", "generic"])
@pytest.mark.parametrize("strict", [True, False])
def test_the_strictness_of_a_schema_is_that_of_the_prompt(server: Server, strict: bool) -> None:
    form = structured(server, json_schema=SCHEMA, strict=strict)["response_format"]
    assert form["json_schema"]["strict"] is strict


def test_nim_extensions_and_forms_share_one_object() -> None:
    sampling = Sampling(top_k=5, structured=StructuredOutput(regex="a+"))
    assert sampling_fields("nim", sampling, 1)["nvext"] == {"top_k": 5, "guided_regex": "a+"}


@pytest.mark.parametrize("server", ["openai", "generic"])
@pytest.mark.parametrize("form", [{"regex": "a"}, {"choice": ("a",)}])
def test_a_form_without_a_common_word_for_it_is_poison(
    server: Server, form: dict[str, Any]
) -> None:
    with pytest.raises(Poison, match=rf"structured\.{next(iter(form))}"):
        structured(server, **form)
