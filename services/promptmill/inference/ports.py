"""Ports to the models: a generator answers conversations, a grader scores answers.

Only an adapter imports its engine's library. All other code uses these ports.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import orjson

from promptmill_schemas import AttributeScores, Generator, Message, Sampling
from promptmill_schemas.message import ToolCall


@dataclass(frozen=True, slots=True)
class GenerateRequest:
    """A request for one answer.

    Attributes:
        request_id: unique among the requests in flight; it appears in the engine's logs.
        messages: the conversation to answer.
        sampling: the sampling parameters; their ``seed`` is ignored in favour of ``seed``.
        seed: the seed of this candidate.
        adapter: name of a LoRA adapter; ``None`` uses the base model.
        tools: the tools that the model may call.
        chat_template_kwargs: further arguments of the chat template.
        extra_body: further fields for a server; an engine in the worker refuses them.
    """

    request_id: str
    messages: Sequence[Message]
    sampling: Sampling
    seed: int
    adapter: str | None = None
    tools: Sequence[Mapping[str, Any]] | None = None
    chat_template_kwargs: Mapping[str, Any] | None = None
    extra_body: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """A generated answer.

    Attributes:
        text: the answer, without the prompt.
        finish_reason: how the answer ended, see :mod:`promptmill_schemas.finish_reasons`.
        prompt_tokens: tokens of the conversation; 0 if the server does not report them.
        completion_tokens: tokens of the answer; 0 if the server does not report them.
        logprob: sum of the log-probabilities of the answer's tokens, if sampling requested it.
        tool_calls: the tools that the answer calls.
        reasoning_content: the reasoning, if the engine gives it apart from the text.
        reasoning_tokens: how many of ``completion_tokens`` are reasoning; ``None`` if unknown.
    """

    text: str
    finish_reason: str
    prompt_tokens: int
    completion_tokens: int
    logprob: float | None = None
    tool_calls: tuple[ToolCall, ...] | None = None
    reasoning_content: str | None = None
    reasoning_tokens: int | None = None


@dataclass(frozen=True, slots=True)
class GradeRequest:
    """A request to grade one answer to a conversation."""

    request_id: str
    messages: Sequence[Message]
    answer: str


@dataclass(frozen=True, slots=True)
class CompareRequest:
    """A request to compare two answers to a conversation, in this order."""

    request_id: str
    messages: Sequence[Message]
    first: str
    second: str


@dataclass(frozen=True, slots=True)
class GraderInfo:
    """The identity of a grader: its engine, model and revision."""

    engine: str
    model: str
    revision: str = ""


@dataclass(frozen=True, slots=True)
class Load:
    """The load of an engine.

    Attributes:
        running: requests that the engine is computing.
        waiting: requests that the engine has accepted and not started. If this stays at 0, the
            worker does not keep the engine busy.
    """

    running: int = 0
    waiting: int = 0


@runtime_checkable
class Loaded(Protocol):
    """An engine that reports its load."""

    @property
    def load(self) -> Load:
        """The current load."""


@dataclass(frozen=True, slots=True)
class Trouble:
    """Why an engine that is alive can complete no request.

    Attributes:
        cause: one word: ``quota``, ``key``, ``model`` or ``server``; empty if there is no trouble.
        detail: the cause in words, with the last error.
    """

    cause: str = ""
    detail: str = ""


@runtime_checkable
class Troubled(Protocol):
    """An engine that reports its trouble."""

    @property
    def trouble(self) -> Trouble:
        """The current trouble."""


class GeneratorEngine(Protocol):
    """A model that answers conversations.

    ``start`` and ``generate`` raise ``Poison`` for a request that this model can never answer
    (for example one longer than its context), ``Transient`` for one that may succeed later, and
    ``EngineDead`` when the engine's processes have exited.
    """

    @property
    def info(self) -> Generator:
        """The generator's identity, which every completion carries. Valid after ``start``."""

    @property
    def context_tokens(self) -> int:
        """Maximum tokens of a conversation with its answer; 0 if unknown."""

    @property
    def tokenizer(self) -> str:
        """Folder of the tokenizer; ``""`` if it is not on this machine."""

    async def start(self) -> None:
        """Load the model, and return when it can answer."""

    async def generate(self, request: GenerateRequest) -> Answer:
        """Generate one answer. Cancelling the call aborts the request in the engine."""

    async def close(self) -> None:
        """Release the model and end its processes."""


class GraderEngine(Protocol):
    """A model that scores answers. It raises the same errors as a generator."""

    @property
    def info(self) -> GraderInfo:
        """The grader's identity. Valid after ``start``."""

    @property
    def context_tokens(self) -> int:
        """Maximum tokens of a conversation with its answer; 0 if unknown."""

    async def start(self) -> None:
        """Load the model, and return when it can grade."""

    async def grade(self, request: GradeRequest) -> AttributeScores:
        """Return the raw scores, which are finite.

        Raises:
            Poison: the conversation is longer than the context, or a score is not finite.
        """

    async def close(self) -> None:
        """Release the model and end its processes."""


Compared = tuple[AttributeScores, AttributeScores]
"""The scores of the first and of the second answer of a comparison."""


class ComparisonEngine(Protocol):
    """A model that scores two answers beside each other. It raises the same errors as a grader."""

    @property
    def info(self) -> GraderInfo:
        """The grader's identity. Valid after ``start``."""

    @property
    def context_tokens(self) -> int:
        """Maximum tokens of a conversation with both answers; 0 if unknown."""

    async def start(self) -> None:
        """Load the model, and return when it can compare."""

    async def compare(self, request: CompareRequest) -> Compared:
        """Return the raw scores of both answers, which are finite."""

    async def close(self) -> None:
        """Release the model and end its processes."""


def answer_text(text: str, tool_calls: Sequence[ToolCall] | None) -> str:
    """An answer as a grader sees it: its text, and the calls of tools in the form of Hermes."""
    calls = [
        f"<tool_call>\n{_as_json(call.function.name, call.function.arguments)}\n</tool_call>"
        for call in tool_calls or ()
    ]
    return "\n".join(filter(None, [text, *calls]))


def _as_json(name: str, arguments: str) -> str:
    """A call as JSON; arguments that the model wrote as invalid JSON stay a text."""
    try:
        parsed = orjson.loads(arguments)
    except orjson.JSONDecodeError:
        parsed = arguments
    return orjson.dumps({"name": name, "arguments": parsed}).decode()
