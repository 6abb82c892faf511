"""Settings of workers that have a model, wherever it runs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Literal

from pydantic import Field

from promptmill.stream.stage_settings import StageSettings

_JSON_BEGINS = tuple('{["')


def read_pairs(given: Any) -> Any:
    """Names with their values, from ``a=1,b=2`` or from a table.

    A value that begins like a JSON object, array or string is read to its end, commas
    included; any other ends at the next comma.

    Raises:
        ValueError: a part is no pair, or a name is given twice.
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
    """Like :func:`read_pairs`; each value is JSON, or the text itself where it is none."""
    pairs = read_pairs(given)
    if not isinstance(pairs, dict):
        return pairs
    return {name: _read_json(value) for name, value in pairs.items()}


def _split(text: str) -> Iterator[tuple[str, str]]:
    at = 0
    while at < len(text):
        name, sign, rest = text[at:].partition("=")
        if not sign or not name.strip() or "," in name:
            raise ValueError(f"{text[at:]!r} is not a NAME=VALUE pair: write NAME=VALUE,NAME=VALUE")
        begin = at + len(name) + 1
        end = _end_of_value(text, begin, rest)
        yield name.strip(), text[begin:end].strip()
        at = end + 1


def _end_of_value(text: str, begin: int, rest: str) -> int:
    if rest.startswith(_JSON_BEGINS):
        _, end = json.JSONDecoder().raw_decode(text, begin)
        if end < len(text) and text[end] != ",":
            raise ValueError(f"{text[end:]!r} follows a value: write a comma between pairs")
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


SLOTS = 64
"""Where no engine says how much it computes together."""


class ModelSettings(StageSettings):
    """What is told of the model before it is known which engine runs it."""

    engine: Literal["vllm", "openai", "scripted"] = Field(
        default="vllm",
        description="engine that runs the model; scripted is only for tests and load runs",
    )
    model: str = Field(
        default="", description="folder of the model, or its name at the model hub or on the server"
    )
    slots: int = Field(
        default=0,
        ge=0,
        description=(
            "records processed at the same time; 0 chooses enough to keep the engine busy"
        ),
    )

    @property
    def slots_at_work(self) -> int:
        """Half as many again as the engine computes together.

        A record may be a single request, and while a finished one is published and the next is
        taken up, others have to wait at the engine already, or it runs short.
        """
        together = self.requests_together()
        return self.slots or together + (together + 1) // 2 or SLOTS

    def requests_together(self) -> int:
        """Requests that the chosen engine works on at once; 0 where it has no limit."""
        return 0
