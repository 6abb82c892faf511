"""What an HTTP engine is told."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from pydantic import SecretStr

from promptmill.core.errors import Misconfigured

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
