"""Engines of the tests: they say what they are told to."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TypeVar

from promptmill.inference.ports import (
    Answer,
    Compared,
    CompareRequest,
    GenerateRequest,
    GeneratorEngine,
    GraderEngine,
    GradeRequest,
    GraderInfo,
)
from promptmill_schemas import AttributeScores, Generator

AnyEngine = TypeVar("AnyEngine", bound=GeneratorEngine | GraderEngine)


@asynccontextmanager
async def started(engine: AnyEngine) -> AsyncIterator[AnyEngine]:
    """Runs the engine while the block runs; one that fails at its start is closed too."""
    try:
        await engine.start()
        yield engine
    finally:
        await engine.close()


@dataclass
class FakeGenerator:
    """Answers with ``reply``; remembers what it was asked."""

    reply: Callable[[GenerateRequest], Answer] = lambda r: Answer(f"answer {r.seed}", "stop", 3, 2)
    asked: list[GenerateRequest] = field(default_factory=list)
    info: Generator = field(default=Generator(engine="fake", model="fake-1"))
    context_tokens: int = 0
    tokenizer: str = ""

    async def start(self) -> None:
        """Nothing to load."""

    async def generate(self, request: GenerateRequest) -> Answer:
        self.asked.append(request)
        return self.reply(request)

    async def close(self) -> None:
        """Nothing to free."""


@dataclass
class FakeGrader:
    """Grades with ``reply``."""

    reply: Callable[[GradeRequest], AttributeScores]
    info: GraderInfo = field(default=GraderInfo("fake", "fake-reward"))
    context_tokens: int = 0

    async def start(self) -> None:
        """Nothing to load."""

    async def grade(self, request: GradeRequest) -> AttributeScores:
        return self.reply(request)

    async def close(self) -> None:
        """Nothing to free."""


@dataclass
class FakeComparer:
    """Compares with ``reply``; remembers what it was asked."""

    reply: Callable[[CompareRequest], Compared]
    asked: list[CompareRequest] = field(default_factory=list)
    info: GraderInfo = field(default=GraderInfo("fake", "fake-genrm"))
    context_tokens: int = 0

    async def start(self) -> None:
        """Nothing to load."""

    async def compare(self, request: CompareRequest) -> Compared:
        self.asked.append(request)
        return self.reply(request)

    async def close(self) -> None:
        """Nothing to free."""


class NoCounter:
    """Counts no tokens."""

    def tokens(self, *, prompt: int, completion: int) -> None: ...
