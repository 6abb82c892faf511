"""HTTP engines against a server of the tests, quick to try again."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any, TypeVar

from promptmill.inference.http.generate import HttpGenerator
from promptmill.inference.http.grade.grader import HttpComparer, HttpGrader, PairFormat, WireFormat
from promptmill.inference.http.grade.reward_model import RewardModelFormat
from promptmill.inference.http.options import Api, HttpOptions
from promptmill.inference.ports import GenerateRequest, GradeRequest
from promptmill_schemas import Message, Sampling
from support.bad_server import BadServer

Engine = TypeVar("Engine", HttpGenerator, HttpGrader, HttpComparer)

QUICK = HttpOptions(
    "",
    model="m",
    request_timeout_s=30.0,
    patience_s=60.0,
    first_pause_s=0.001,
    start_limit_s=60.0,
)


@asynccontextmanager
async def generating(
    at: BadServer | str, /, api: Api = "chat", **changes: Any
) -> AsyncIterator[HttpGenerator]:
    """A started generator; the calls of its start are forgotten."""
    async with _started(HttpGenerator(_options(at, changes), api), at) as engine:
        yield engine


@asynccontextmanager
async def grading(
    at: BadServer | str, /, form: WireFormat | None = None, **changes: Any
) -> AsyncIterator[HttpGrader]:
    """A started grader; the calls of its start are forgotten."""
    grader = HttpGrader(_options(at, changes), form or RewardModelFormat())
    async with _started(grader, at) as engine:
        yield engine


@asynccontextmanager
async def comparing(
    at: BadServer | str, /, form: PairFormat, **changes: Any
) -> AsyncIterator[HttpComparer]:
    """A started grader of pairs; the calls of its start are forgotten."""
    async with _started(HttpComparer(_options(at, changes), form), at) as engine:
        yield engine


@asynccontextmanager
async def _started(engine: Engine, at: BadServer | str) -> AsyncIterator[Engine]:
    try:
        await engine.start()
        if isinstance(at, BadServer):
            at.calls.clear()
        yield engine
    finally:
        await engine.close()


def question(text: str = "Is 7 prime?", seed: int = 1, **sampling: Any) -> GenerateRequest:
    """A request for one answer."""
    return GenerateRequest(text, (Message(role="user", content=text),), Sampling(**sampling), seed)


def answered(answer: str = "Yes.", text: str = "Is 7 prime?") -> GradeRequest:
    """A request for one grade."""
    return GradeRequest(text, (Message(role="user", content=text),), answer)


def _options(server: BadServer | str, changes: dict[str, Any]) -> HttpOptions:
    url = server if isinstance(server, str) else server.base_url
    return replace(QUICK, base_url=url, **changes)
