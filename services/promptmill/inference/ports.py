"""Ports to the models: a generator answers conversations, a grader scores answers.

An adapter imports its engine's library; everything else knows only what stands here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from promptmill_schemas import AttributeScores, Generator, Message, Sampling


@dataclass(frozen=True, slots=True)
class GenerateRequest:
    """One answer to be drawn.

    Attributes:
        request_id: unique among those in flight; names the request in the engine's logs.
        messages: the conversation to answer.
        sampling: how to draw; its ``seed`` is not used, ``seed`` below is.
        seed: of this candidate alone.
        adapter: LoRA adapter by name.
    """

    request_id: str
    messages: Sequence[Message]
    sampling: Sampling
    seed: int
    adapter: str | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """What was drawn; ``logprob`` is the sum over its tokens where sampling asked for it."""

    text: str
    finish_reason: str
    prompt_tokens: int
    completion_tokens: int
    logprob: float | None = None


@dataclass(frozen=True, slots=True)
class GradeRequest:
    """One answer to be graded, in its conversation."""

    request_id: str
    messages: Sequence[Message]
    answer: str


@dataclass(frozen=True, slots=True)
class GraderInfo:
    """What grades: engine, model, revision."""

    engine: str
    model: str
    revision: str = ""


@dataclass(frozen=True, slots=True)
class Load:
    """What an engine has to do.

    Attributes:
        running: requests that it computes now.
        waiting: requests that it has accepted and not begun; 0 for long means that the worker
            does not keep it full.
    """

    running: int = 0
    waiting: int = 0


@runtime_checkable
class Loaded(Protocol):
    """An engine that knows its own queue."""

    @property
    def load(self) -> Load:
        """What it has to do now."""


class GeneratorEngine(Protocol):
    """Answers conversations.

    Errors of both methods below: ``Poison`` for what this model can never answer (longer than
    its context), ``Transient`` for what may succeed later, ``EngineDead`` when the process
    group is gone.
    """

    @property
    def info(self) -> Generator:
        """What answers, as it is stamped on every completion. Valid once started."""

    @property
    def context_tokens(self) -> int:
        """Longest conversation with its answer, 0 where unknown."""

    @property
    def tokenizer(self) -> str:
        """Folder of the tokenizer, ``""`` where there is none at hand."""

    async def start(self) -> None:
        """Load the model; returns when it can answer."""

    async def generate(self, request: GenerateRequest) -> Answer:
        """One answer. Cancelling the call aborts the request in the engine."""

    async def close(self) -> None:
        """Free the model and its processes."""


class GraderEngine(Protocol):
    """Scores answers; the same errors as a generator."""

    @property
    def info(self) -> GraderInfo:
        """What grades. Valid once started."""

    @property
    def context_tokens(self) -> int:
        """Longest conversation with its answer, 0 where unknown."""

    async def start(self) -> None:
        """Load the model; returns when it can grade."""

    async def grade(self, request: GradeRequest) -> AttributeScores:
        """Raw, finite scores. ``Poison`` when the conversation is longer than the context."""

    async def close(self) -> None:
        """Free the model and its processes."""
