"""Sampling parameters as request fields, for each kind of server.

==========  ==============================  ===================  ============================
server      top_k, min_p, repetition_p.     JSON schema          regex, choice
==========  ==============================  ===================  ============================
vllm        fields                          ``response_format``  ``structured_outputs``
sglang      fields                          ``response_format``  ``regex``
trtllm      fields                          ``response_format``  ``response_format``
nim         in ``nvext``                    in ``nvext``         in ``nvext``
openai      none                            ``response_format``  none
generic     fields                          ``response_format``  none
==========  ==============================  ===================  ============================

vLLM and SGLang take absent fields from the model's ``generation_config.json``. They are therefore
sent the neutral values explicitly, so that a prompt means the same on every server. NIM reports
itself as vLLM from version 2 on; ``nim`` stands for version 1 and Dynamo.
"""

from __future__ import annotations

import re
from typing import Any

from promptmill.inference.http.options import Server
from promptmill.runtime.errors import Poison
from promptmill_schemas import Sampling, StructuredOutput

Fields = dict[str, Any]

NEUTRAL: Fields = {"top_k": -1, "min_p": 0.0, "repetition_penalty": 1.0}
"""Values that change nothing, for servers that would take the model's own for absent fields."""


def sampling_fields(server: Server, sampling: Sampling, seed: int) -> Fields:
    """The request fields for these sampling parameters, except those for log-probabilities.

    Raises:
        Poison: this kind of server does not support one of the parameters.
    """
    fields: Fields = {"temperature": sampling.temperature, "top_p": sampling.top_p, "seed": seed}
    fields["max_completion_tokens" if server == "openai" else "max_tokens"] = sampling.max_tokens
    if sampling.stop:
        fields["stop"] = list(sampling.stop)
    if sampling.presence_penalty:
        fields["presence_penalty"] = sampling.presence_penalty
    if sampling.frequency_penalty:
        fields["frequency_penalty"] = sampling.frequency_penalty
    fields.update(_extensions(server, sampling))
    if sampling.structured is not None:
        _merge(fields, structured_fields(server, sampling.structured))
    return fields


def _extensions(server: Server, sampling: Sampling) -> Fields:
    extensions: Fields = {}
    if sampling.top_k is not None:
        extensions["top_k"] = sampling.top_k
    if sampling.min_p:
        extensions["min_p"] = sampling.min_p
    if sampling.repetition_penalty != 1.0:
        extensions["repetition_penalty"] = sampling.repetition_penalty
    if server in {"vllm", "sglang"}:
        return NEUTRAL | extensions
    if extensions and server == "openai":
        raise _unsupported(", ".join(extensions), server)
    return {"nvext": extensions} if extensions and server == "nim" else extensions


def structured_fields(server: Server, structured: StructuredOutput) -> Fields:
    """The request fields for a structured output.

    Raises:
        Poison: this kind of server does not support the structure.
    """
    if server == "nim":
        return {"nvext": _guided(structured)}
    if structured.json_object:
        return {"response_format": {"type": "json_object"}}
    if structured.json_schema is not None:
        return {"response_format": _json_format(server, structured)}
    if server == "vllm":
        return {
            "structured_outputs": structured.model_dump(
                mode="json", exclude_none=True, include={"regex", "choice"}
            )
        }
    if server == "sglang":
        return {"regex": _pattern(structured)}
    if server == "trtllm":
        return {"response_format": {"type": "regex", "regex": _pattern(structured)}}
    raise _unsupported("structured.regex" if structured.regex else "structured.choice", server)


def _guided(structured: StructuredOutput) -> Fields:
    choice = None if structured.choice is None else list(structured.choice)
    guided = {
        "guided_json": {"type": "object"} if structured.json_object else structured.json_schema,
        "guided_regex": structured.regex,
        "guided_choice": choice,
    }
    return {name: value for name, value in guided.items() if value is not None}


def _json_format(server: Server, structured: StructuredOutput) -> Fields:
    named: Fields = {"name": "answer", "schema": structured.json_schema}
    if structured.strict is not None:
        named["strict"] = structured.strict
    elif server == "openai":
        named["strict"] = True
    return {"type": "json_schema", "json_schema": named}


def _pattern(structured: StructuredOutput) -> str:
    """The regular expression, or one that matches exactly the choices."""
    if structured.regex is not None:
        return structured.regex
    return f"({'|'.join(map(re.escape, structured.choice or ()))})"


def _merge(fields: Fields, more: Fields) -> None:
    for name, value in more.items():
        fields[name] = fields[name] | value if name in fields else value


def _unsupported(names: str, server: Server) -> Poison:
    return Poison(
        f"sampling.{names} cannot be expressed for a server of kind {server!r}: remove it from "
        "the prompt, or name the kind of server with --server (vllm, sglang, trtllm, nim)"
    )
