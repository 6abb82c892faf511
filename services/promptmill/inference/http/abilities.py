"""What a server understands of a request: found out by its refusals, and remembered.

A refusal of a field costs nothing, because the server generates nothing. The server's words
usually name the field; then the request is changed in that point and sent again, and what works
is kept for all requests. At the start, a refusal that names no field makes the client try the
alternatives one after the other.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Final, Literal, get_args

from promptmill.inference.thinking import EFFORT, TEMPLATE, as_effort
from promptmill.runtime.errors import Misconfigured

Seed = Literal["63", "31", "none"]
Limit = Literal["auto", "max_tokens", "max_completion_tokens"]
Chance = Literal["both", "temperature", "none"]
Stream = Literal["no", "yes", "plain"]
Json = Literal["schema", "object", "none"]
Think = Literal["template", "effort", "minimal"]

Change = dict[str, Any]

_LIMITS = ("max_tokens", "max_completion_tokens")
_MASK: Final = (1 << 31) - 1

_UNKNOWN = re.compile(
    r"unsupported|not support|unknown|unrecogni|unexpected|not permitted|not allowed|extra |"
    r"invalid param|use '?max_"
)
_WANTS_STREAM = re.compile(
    r"only supports? stream|stream(ing)? (mode )?(is )?(required|only)|"
    r"stream must be (set to )?true|false for non-stream|"
    r"(set|enable|use) (the )?'?\"?stream|non-stream\w* .*not"
)
_JSON = re.compile(r"response_format|json_schema|structured|guided|grammar|\bstrict\b")


@dataclass(frozen=True, slots=True)
class Abilities:
    """How requests to a server are worded.

    Attributes:
        seed: the bits of a seed, of which the low ones are sent; ``none`` omits the seed.
        limit: the name of the limit of tokens; ``auto`` is that of the kind of server.
        chance: ``temperature`` omits top_p beside the temperature, ``none`` omits both.
        stream: ``yes`` requests a stream with the token counts, ``plain`` one without.
        json: how a JSON schema is requested: as it is, as any JSON object, or not at all.
        thinking: how thinking is switched: by arguments of the chat template, or by an effort,
            whose least value is ``none`` or ``minimal``.
    """

    seed: Seed = "63"
    limit: Limit = "auto"
    chance: Chance = "both"
    stream: Stream = "no"
    json: Json = "schema"
    thinking: Think = "template"

    def adapt(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """The body of a request, worded for this server."""
        adapted = dict(body)
        self._adapt_seed(adapted)
        self._adapt_limit(adapted)
        self._adapt_chance(adapted)
        self._adapt_thinking(adapted)
        if self.stream != "no":
            adapted["stream"] = True
        if self.stream == "yes":
            adapted["stream_options"] = {"include_usage": True}
        if _has_schema(adapted) and self.json != "schema":
            del adapted["response_format"]
            if self.json == "object":
                adapted["response_format"] = {"type": "json_object"}
        return adapted

    def after(self, refusal: str, body: Mapping[str, Any]) -> Abilities | None:
        """The abilities to try after a refusal; ``None`` if it blames no field of the body."""
        said = refusal.lower()
        learners = (
            self._after_seed,
            self._after_limit,
            self._after_stream,
            self._after_json,
            self._after_thinking,
            self._after_chance,
        )
        changes = (learner(said, body) for learner in learners)
        change = next((change for change in changes if change), None)
        return None if change is None else replace(self, **change)

    def alternatives(self) -> Iterator[Abilities]:
        """Other wordings to try if a refusal names no field: one change each, then several."""
        for change in _CHANGES:
            if any(getattr(self, name) != value for name, value in change.items()):
                yield replace(self, **change)
        plain = {"seed": "none", "chance": "none", "json": "none"}
        yield replace(self, **plain)  # type: ignore[arg-type]
        yield replace(self, **plain, stream="yes")  # type: ignore[arg-type]

    def merged(self, before: Abilities, learned: Abilities) -> Abilities:
        """These abilities, with what another request has learned since ``before``."""
        news = {
            each.name: getattr(learned, each.name)
            for each in fields(self)
            if getattr(learned, each.name) != getattr(before, each.name)
        }
        return replace(self, **news)

    def as_setting(self) -> str:
        """The setting that spares the search at the next start; empty for the defaults."""
        default = Abilities()
        return ",".join(
            f"{each.name}={getattr(self, each.name)}"
            for each in fields(self)
            if getattr(self, each.name) != getattr(default, each.name)
        )

    def _adapt_seed(self, body: dict[str, Any]) -> None:
        if self.seed == "none":
            body.pop("seed", None)
        elif self.seed == "31" and "seed" in body:
            body["seed"] &= _MASK

    def _adapt_limit(self, body: dict[str, Any]) -> None:
        given = next((name for name in _LIMITS if name in body), None)
        if given is not None and self.limit != "auto":
            body[self.limit] = body.pop(given)

    def _adapt_chance(self, body: dict[str, Any]) -> None:
        """Omit what the server refuses, but keep the one of both that is not neutral."""
        if self.chance == "both" or "temperature" not in body:
            return
        only_top_p = body["temperature"] == 1 and body.get("top_p", 1) != 1
        if self.chance == "none" or only_top_p:
            body.pop("temperature")
        if self.chance == "none" or not only_top_p:
            body.pop("top_p", None)

    def _adapt_thinking(self, body: dict[str, Any]) -> None:
        if self.thinking != "template":
            as_effort(body)
        if self.thinking == "minimal" and body.get(EFFORT) == "none":
            body[EFFORT] = "minimal"

    def _after_seed(self, said: str, body: Mapping[str, Any]) -> Change:
        if "seed" not in said or "seed" not in body or self.seed == "none":
            return {}
        return {"seed": "31" if self.seed == "63" else "none"}

    def _after_limit(self, said: str, body: Mapping[str, Any]) -> Change:
        """The other name of the limit, if the server says that it does not know the one it got."""
        if self.limit != "auto" or not _UNKNOWN.search(said):
            return {}
        got = next((name for name in _LIMITS if name in body and name in said), None)
        other = {_LIMITS[0]: _LIMITS[1], _LIMITS[1]: _LIMITS[0]}
        return {} if got is None else {"limit": other[got]}

    def _after_stream(self, said: str, _body: Mapping[str, Any]) -> Change:
        if "stream_options" in said and self.stream == "yes":
            return {"stream": "plain"}
        return {"stream": "yes"} if self.stream == "no" and _WANTS_STREAM.search(said) else {}

    def _after_json(self, said: str, body: Mapping[str, Any]) -> Change:
        if not _has_schema(body) or self.json == "none" or not _JSON.search(said):
            return {}
        return {"json": "object" if self.json == "schema" else "none"}

    def _after_thinking(self, said: str, body: Mapping[str, Any]) -> Change:
        if TEMPLATE in said and TEMPLATE in body and self.thinking == "template":
            return {"thinking": "effort"}
        return {"thinking": "minimal"} if EFFORT in said and body.get(EFFORT) == "none" else {}

    def _after_chance(self, said: str, body: Mapping[str, Any]) -> Change:
        if "temperature" not in body or self.chance == "none":
            return {}
        if "top_p" in said:
            return {"chance": "temperature" if self.chance == "both" else "none"}
        return {"chance": "none"} if "temperature" in said else {}


_CHANGES: Final[tuple[dict[str, Any], ...]] = (
    {"seed": "31"},
    {"seed": "none"},
    {"limit": "max_completion_tokens"},
    {"limit": "max_tokens"},
    {"chance": "temperature"},
    {"chance": "none"},
    {"stream": "yes"},
    {"json": "object"},
    {"json": "none"},
    {"thinking": "effort"},
)

HINT: Final = (
    "if it refuses a field of the request, name what it understands with --dialect: seed=31 or "
    "seed=none, limit=max_completion_tokens or limit=max_tokens, chance=temperature or "
    "chance=none, stream=yes, json=object or json=none, thinking=effort; a gateway that only looks "
    "like vLLM needs --server generic"
)

_VALUES: Final[Mapping[str, tuple[str, ...]]] = {
    "seed": get_args(Seed),
    "limit": get_args(Limit),
    "chance": get_args(Chance),
    "stream": get_args(Stream),
    "json": get_args(Json),
    "thinking": get_args(Think),
}


def read_abilities(given: Mapping[str, str]) -> Abilities:
    """The abilities that the setting ``dialect`` names.

    Raises:
        Misconfigured: a name or a value is unknown.
    """
    for name, value in given.items():
        if name not in _VALUES:
            raise Misconfigured(f"dialect has {name!r}: it can have {', '.join(_VALUES)}")
        if value not in _VALUES[name]:
            choices = ", ".join(_VALUES[name])
            raise Misconfigured(f"dialect has {name}={value}: {name} can be {choices}")
    return Abilities(**given)  # type: ignore[arg-type]


def _has_schema(body: Mapping[str, Any]) -> bool:
    form = body.get("response_format")
    return isinstance(form, dict) and form.get("type") in {"json_schema", "json_object"}
