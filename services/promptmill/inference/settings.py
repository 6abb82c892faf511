"""Settings of a worker that has a model, independent of the engine."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Literal

from pydantic import Field

from promptmill.stream.stage_settings import StageSettings

_JSON_BEGINS = tuple('{["')

DEFAULT_SLOTS = 64
"""Slots of a worker whose engine does not say how many requests it processes at once."""


class ModelSettings(StageSettings):
    """The settings that do not depend on which engine runs the model."""

    engine: Literal["vllm", "openai", "scripted"] = Field(
        default="vllm",
        description="engine that runs the model; scripted is only for tests and load runs",
    )
    model: str = Field(
        default="", description="folder of the model, or its name at the model hub or on the server"
    )
    thinking: str = Field(
        default="",
        description=(
            "whether the model thinks before it answers: on, off, or most tokens of its "
            "reasoning; left to the model if empty"
        ),
    )
    slots: int = Field(
        default=0,
        ge=0,
        description=(
            "records processed at the same time; 0 chooses enough to keep the engine busy"
        ),
    )

    @property
    def effective_slots(self) -> int:
        """``slots``, or 1.5 times the number of requests that the engine processes at once.

        A record may consist of a single request. While a finished record is published and the
        next one is started, further requests have to be queued in the engine, or it runs idle.
        """
        concurrent = self.max_concurrent_requests()
        return self.slots or concurrent + (concurrent + 1) // 2 or DEFAULT_SLOTS

    def max_concurrent_requests(self) -> int:
        """Requests that the chosen engine processes at once; 0 if it has no limit."""
        return 0


def read_key_values(given: Any) -> Any:
    """Parse ``a=1,b=2`` or a JSON object into a dictionary; other types are returned unchanged.

    A value that begins like a JSON object, array or string is parsed as JSON and may contain
    commas. Any other value ends at the next comma.

    Raises:
        ValueError: a part is not a NAME=VALUE pair, or a name is given twice.
    """
    if not isinstance(given, str):
        return given
    text = given.strip()
    if text.startswith("{"):
        return json.loads(text)
    pairs: dict[str, str] = {}
    for name, value in _split(text):
        if name in pairs:
            raise ValueError(f"{name} is given twice: keep one of them")
        pairs[name] = value
    return pairs


def read_values(given: Any) -> Any:
    """Like :func:`read_key_values`, with each value parsed as JSON if it is valid JSON."""
    pairs = read_key_values(given)
    if not isinstance(pairs, dict):
        return pairs
    return {name: _read_json(value) for name, value in pairs.items()}


def _split(text: str) -> Iterator[tuple[str, str]]:
    at = 0
    while at < len(text):
        name, sign, rest = text[at:].partition("=")
        if not sign or not name.strip() or "," in name:
            raise ValueError(
                f"the text from character {at + 1} on is not a NAME=VALUE pair: write "
                "NAME=VALUE,NAME=VALUE"
            )
        begin = at + len(name) + 1
        end = _end_of_value(text, begin, rest)
        yield name.strip(), text[begin:end].strip()
        at = end + 1


def _end_of_value(text: str, begin: int, rest: str) -> int:
    if rest.startswith(_JSON_BEGINS):
        _, end = json.JSONDecoder().raw_decode(text, begin)
        if end < len(text) and text[end] != ",":
            raise ValueError(f"character {end + 1} follows a value: write a comma between pairs")
        return end
    comma = text.find(",", begin)
    return len(text) if comma < 0 else comma


def _read_json(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except ValueError:
        return value
