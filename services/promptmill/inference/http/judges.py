"""Further graders beside the first one: their servers and their keys."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace

from pydantic import SecretStr

from promptmill.inference.http.options import HttpOptions
from promptmill.runtime.errors import Misconfigured


def further_graders(
    first: HttpOptions,
    servers: Mapping[str, str],
    keys: Mapping[str, str],
    environment: Mapping[str, str] | None = None,
) -> list[HttpOptions]:
    """The options of further graders, which differ from the first in model and server only.

    The key, the headers and the query of the first are not sent to another server.

    Args:
        servers: the base URL by model; an empty one is the server of the first grader.
        keys: ``$VARIABLE`` by model, for models on other servers.

    Raises:
        Misconfigured: a model is named twice, or a key is not valid.
    """
    if first.model in servers or (servers and not first.model):
        raise Misconfigured(
            f"judges has {', '.join(servers)} and model is {first.model!r}: name the first grader "
            "with --model, and only the others with --judges"
        )
    if unknown := keys.keys() - {model for model, url in servers.items() if url}:
        raise Misconfigured(
            f"judge_keys has {', '.join(sorted(unknown))}: only models of --judges with a URL of "
            "their own have a key of their own; correct the name"
        )
    variables = os.environ if environment is None else environment
    return [
        _on_server(first, model, url, _key(model, keys.get(model), variables))
        for model, url in servers.items()
    ]


def _on_server(first: HttpOptions, model: str, url: str, key: SecretStr | None) -> HttpOptions:
    if not url:
        return replace(first, model=model)
    return replace(first, model=model, base_url=url, api_key=key, headers={}, query={})


def _key(model: str, given: str | None, variables: Mapping[str, str]) -> SecretStr | None:
    if given is None:
        return None
    name = given.removeprefix("$")
    value = variables.get(name, "").strip()
    if not given.startswith("$") or not value:
        shown = name if given.startswith("$") else "a text"
        raise Misconfigured(
            f"judge_keys.{model} is {shown}: it must be $ and the name of a variable that is set; "
            "put the key into the environment"
        )
    if not (value.isascii() and value.isprintable() and " " not in value):
        raise Misconfigured(
            f"{name} contains a space, a line break or a non-ASCII character: set it to the key "
            "alone, as the server's operator issued it"
        )
    return SecretStr(value)
