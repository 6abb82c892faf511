"""How each kind of server wants a prompt's sampling said.

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

vLLM and SGLang fill what is not said from the model's ``generation_config.json``; so that a
prompt means the same everywhere, they are told the neutral values too. NIM from version 2 on is
vLLM and says so; ``nim`` is version 1, and Dynamo.
"""

from __future__ import annotations

import re
from typing import Any

from promptmill.inference.http.options import Server
from promptmill.runtime.errors import Poison
from promptmill_schemas import Sampling, StructuredOutput

Fields = dict[str, Any]

_NEUTRAL: Fields = {"top_k": -1, "min_p": 0.0, "repetition_penalty": 1.0}


def sampling_fields(server: Server, sampling: Sampling, seed: int) -> Fields:
    """The fields of a request that say how to draw one answer, log-probabilities apart.

    Raises:
        Poison: the server has no way to say one of them.
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
    asked: Fields = {}
    if sampling.top_k is not None:
        asked["top_k"] = sampling.top_k
    if sampling.min_p:
        asked["min_p"] = sampling.min_p
    if sampling.repetition_penalty != 1.0:
        asked["repetition_penalty"] = sampling.repetition_penalty
    if server in {"vllm", "sglang"}:
        return _NEUTRAL | asked
    if asked and server == "openai":
        raise _unspeakable(", ".join(asked), server)
    return {"nvext": asked} if asked and server == "nim" else asked


def structured_fields(server: Server, form: StructuredOutput) -> Fields:
    """The fields that hold an answer to its form; raises ``Poison`` where there are none."""
    if server == "nim":
        return {"nvext": _guided(form)}
    if form.json_schema is not None:
        return {"response_format": _json_format(server, form.json_schema)}
    if server == "vllm":
        return {
            "structured_outputs": form.model_dump(
                mode="json", exclude_none=True, exclude=form.unknown_fields
            )
        }
    if server == "sglang":
        return {"regex": _pattern(form)}
    if server == "trtllm":
        return {"response_format": {"type": "regex", "regex": _pattern(form)}}
    raise _unspeakable("structured.regex" if form.regex else "structured.choice", server)


def _guided(form: StructuredOutput) -> Fields:
    choice = None if form.choice is None else list(form.choice)
    said = {
        "guided_json": form.json_schema,
        "guided_regex": form.regex,
        "guided_choice": choice,
    }
    return {name: value for name, value in said.items() if value is not None}


def _json_format(server: Server, schema: Fields) -> Fields:
    named: Fields = {"name": "answer", "schema": schema}
    return {
        "type": "json_schema",
        "json_schema": named | {"strict": True} if server == "openai" else named,
    }


def _pattern(form: StructuredOutput) -> str:
    """The expression, or the one that allows the choices and nothing else."""
    if form.regex is not None:
        return form.regex
    return f"({'|'.join(map(re.escape, form.choice or ()))})"


def _merge(fields: Fields, more: Fields) -> None:
    for name, value in more.items():
        fields[name] = fields[name] | value if name in fields else value


def _unspeakable(names: str, server: Server) -> Poison:
    return Poison(
        f"sampling.{names} cannot be expressed for a server of kind {server!r}: remove it from "
        "the prompt, or name the kind of server with --server (vllm, sglang, trtllm, nim)"
    )
