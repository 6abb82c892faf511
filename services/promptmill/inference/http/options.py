"""What an HTTP engine is told."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from pydantic import SecretStr

from promptmill.runtime.errors import Misconfigured

VARIABLE = "PROMPTMILL_API_KEY"


def read_api_key(environment: Mapping[str, str] | None = None) -> SecretStr | None:
    """The key, ``None`` where there is none.

    Raises:
        Misconfigured: it has characters that an HTTP header cannot carry.
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


def without_key(text: str, key: SecretStr | None) -> str:
    """``text`` with the key blacked out; servers like to quote what they refuse."""
    return text if key is None else text.replace(key.get_secret_value(), "***")


Server = Literal["auto", "vllm", "sglang", "trtllm", "nim", "openai", "generic"]
Api = Literal["chat", "completions"]
GraderKind = Literal["nim", "classify", "judge"]

_TIMES = (
    "request_timeout_s",
    "connect_timeout_s",
    "patience_s",
    "first_pause_s",
    "start_limit_s",
)


@dataclass(frozen=True, slots=True)
class HttpOptions:
    """One model behind one URL.

    Attributes:
        base_url: with or without ``/v1``.
        model: its name at the server; ``""`` takes the only one that is served.
        server: which extensions the server speaks; ``auto`` asks it.
        concurrency: requests at the server at once, at most.
        request_timeout_s: from sending a request to the last byte of its answer.
        connect_timeout_s: to a connection, TLS included.
        patience_s: how long a request waits for a server that is busy or away before the record
            is handed back, to be tried again without counting.
        tries: how many answers one request may cost that cannot be read; refusals count the
            same, failures that gave no answer count half. There is no other budget above it.
        first_pause_s: after the first of these; doubles each time.
        start_limit_s: how long a server may take until it answers for the first time.
        ca_file: certificates to trust, in PEM format, instead of the system's.
        api_key: sent as bearer token.
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

    def __post_init__(self) -> None:
        for name in ("concurrency", "tries"):
            if getattr(self, name) < 1:
                raise Misconfigured(f"{name} is {getattr(self, name)}: it must be at least 1")
        for name in _TIMES:
            if getattr(self, name) <= 0:
                raise Misconfigured(f"{name} is {getattr(self, name)}: it must be above 0")


@dataclass(frozen=True, slots=True)
class GradingOptions:
    """How a server is asked for grades.

    Attributes:
        kind: ``nim`` is a reward model in NVIDIA's wire format, ``classify`` vLLM's pooling
            endpoint, ``judge`` a chat model with a rubric.
        heads: label or index by attribute, empty to go by the names.
        rubric: the judge's own, instead of promptmill's.
        judge_tokens: of a verdict.
    """

    kind: GraderKind = "nim"
    heads: Mapping[str, str] = field(default_factory=dict)
    rubric: str | None = None
    judge_tokens: int = 512
