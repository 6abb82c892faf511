"""Options of an HTTP engine."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from pydantic import SecretStr

from promptmill.inference.http.abilities import Abilities
from promptmill.inference.http.headers import Values
from promptmill.inference.thinking import Thinking
from promptmill.runtime.errors import Misconfigured

VARIABLE = "PROMPTMILL_API_KEY"

Server = Literal["auto", "vllm", "sglang", "trtllm", "nim", "openai", "generic"]
Api = Literal["chat", "completions"]
GraderKind = Literal["nim", "classify", "judge", "pairwise", "genrm"]

_TIMES = (
    "request_timeout_s",
    "connect_timeout_s",
    "patience_s",
    "first_pause_s",
    "start_limit_s",
)


@dataclass(frozen=True, slots=True)
class HttpOptions:
    """Options of one model on one server.

    Attributes:
        base_url: the server's address, with or without ``/v1``.
        model: the model's name on the server; ``""`` takes the only one that it offers.
        server: the kind of server, which decides the extensions used; ``auto`` asks the server.
        concurrency: maximum number of concurrent requests.
        request_timeout_s: seconds from sending a request to the last byte of its response.
        connect_timeout_s: seconds to make a connection, TLS included.
        patience_s: seconds that a request waits for a server that is busy or unreachable. After
            that the record is retried in place, and the attempt is not counted.
        tries: the retry budget of one request: the number of unreadable answers and refusals
            that it may have. A failure without an answer counts as half of one. No other budget
            applies.
        first_pause_s: pause after the first failure, in seconds; it doubles each time.
        start_limit_s: seconds that the server may take to answer for the first time.
        ca_file: trusted certificates in PEM format, instead of the system's.
        api_key: the key, sent as a bearer token, or in the header ``api-key`` to Azure.
        headers: further headers of every request.
        query: further query parameters of every request.
        thinking: whether the model is to think before it answers; ``None`` leaves it to the model.
        extra_body: further fields of every request; a request's own fields take precedence.
        abilities: what the server is known to understand; the rest is found out.
    """

    base_url: str
    model: str = ""
    server: Server = "auto"
    concurrency: int = 256
    request_timeout_s: float = 300.0
    connect_timeout_s: float = 10.0
    patience_s: float = 300.0
    tries: int = 5
    first_pause_s: float = 0.25
    start_limit_s: float = 300.0
    ca_file: Path | None = None
    api_key: SecretStr | None = field(default=None, repr=False)
    headers: Values = field(default_factory=dict, repr=False)
    query: Values = field(default_factory=dict, repr=False)
    thinking: Thinking | None = None
    extra_body: Mapping[str, Any] = field(default_factory=dict)
    abilities: Abilities = field(default_factory=Abilities)

    def __post_init__(self) -> None:
        for name in ("concurrency", "tries"):
            if getattr(self, name) < 1:
                raise Misconfigured(f"{name} is {getattr(self, name)}: it must be at least 1")
        for name in _TIMES:
            if getattr(self, name) <= 0:
                raise Misconfigured(f"{name} is {getattr(self, name)}: it must be above 0")

    @property
    def secrets(self) -> list[SecretStr]:
        """All values that must not appear in a message."""
        values = (self.api_key, *self.headers.values(), *self.query.values())
        return [value for value in values if isinstance(value, SecretStr)]


@dataclass(frozen=True, slots=True)
class GradingOptions:
    """Options of grading on a server.

    Attributes:
        kind: the wire format. ``nim`` is that of NVIDIA's reward models, ``classify`` is vLLM's
            pooling endpoint, and ``judge`` is a chat model with a rubric. ``pairwise`` and
            ``genrm`` compare two answers: a chat model with a rubric, and a generative reward
            model.
        heads: the label or index by attribute; if empty, the labels' names decide.
        rubric: file with the judge's rubric; ``None`` uses promptmill's own.
        judge_tokens: maximum number of tokens of a verdict; ``None`` uses that of the format.
        principle: what a generative reward model should look at.
    """

    kind: GraderKind = "nim"
    heads: Mapping[str, str] = field(default_factory=dict)
    rubric: Path | None = None
    judge_tokens: int | None = None
    principle: str = ""

    @property
    def compares(self) -> bool:
        """Whether the grader compares two answers instead of grading one."""
        return self.kind in {"pairwise", "genrm"}


def read_api_key(environment: Mapping[str, str] | None = None) -> SecretStr | None:
    """The API key from the environment; ``None`` if it is not set.

    Raises:
        Misconfigured: the key contains characters that are not valid in an HTTP header.
    """
    key = (os.environ if environment is None else environment).get(VARIABLE, "").strip()
    if not key:
        return None
    if not (key.isascii() and key.isprintable() and " " not in key):
        raise Misconfigured(
            f"{VARIABLE} contains a space, a line break or a non-ASCII character: set it to the "
            "key alone, as the server's operator issued it"
        )
    return SecretStr(key)
