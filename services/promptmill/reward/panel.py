"""Opinions about answers, and the verdict that follows from several of them.

A panel grades all answers to a prompt. :class:`~promptmill.reward.pointwise.Pointwise` asks its
graders about each answer, :class:`~promptmill.reward.pairwise.Pairwise` about pairs of answers. An
opinion is what one request says about one answer; a verdict is the mean of the opinions.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from promptmill.inference.ports import (
    ComparisonEngine,
    GraderEngine,
    GraderInfo,
    Load,
    Loaded,
    Trouble,
    Troubled,
)
from promptmill.inference.scores import Calibration
from promptmill.runtime.errors import Poison
from promptmill_schemas import ATTRIBUTES, AttributeScores, Message
from promptmill_schemas.ids import text_digest


@dataclass(frozen=True, slots=True)
class Answers:
    """The answers to one prompt.

    Attributes:
        prompt_id: names the requests in the engines' logs.
        texts: the final answers, in order; ``None`` for one that is not to be graded.
    """

    prompt_id: str
    messages: Sequence[Message]
    texts: tuple[str | None, ...]

    @property
    def key(self) -> str:
        """The prompt with these answers; a replay of the prompt may bring other answers."""
        digests = "".join(text_digest(text or "") for text in self.texts)
        return f"{self.prompt_id}-{text_digest(digests)}"

    @property
    def present(self) -> list[int]:
        """The indexes of the answers that are to be graded."""
        return [index for index, text in enumerate(self.texts) if text is not None]


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a grader gave no opinion."""

    reason: str


@dataclass(frozen=True, slots=True)
class PanelVerdict:
    """The mean of the opinions about an answer.

    Attributes:
        disagreement: the largest difference between two opinions on one attribute; ``None`` if
            there was one opinion only.
    """

    scores: AttributeScores
    disagreement: float | None = None


Judged: TypeAlias = PanelVerdict | Refusal


class Panel(Protocol):
    """Grades all answers to a prompt; a prompt that failed does not pay twice for an opinion."""

    calibration: Calibration

    @property
    def engines(self) -> Sequence[GraderEngine | ComparisonEngine]:
        """The graders."""

    async def judge(self, answers: Answers) -> list[Judged]:
        """Return a verdict or refusal for each answer, in their order.

        Raises:
            Exhausted: a grader failed too often; that says nothing about the answers.
            Transient: a request failed and may succeed later.
        """


class Graders:
    """The graders of a panel as one: their start and end, identity and load."""

    def __init__(self, engines: Sequence[GraderEngine | ComparisonEngine]) -> None:
        self.engines = engines

    @property
    def info(self) -> GraderInfo:
        """The graders' identities in one; equal parts appear once."""
        infos = [engine.info for engine in self.engines]
        columns = ([i.engine for i in infos], [i.model for i in infos], [i.revision for i in infos])
        return GraderInfo(*("+".join(dict.fromkeys(filter(None, column))) for column in columns))

    @property
    def context_tokens(self) -> int:
        """The smallest of the known contexts; 0 if none is known."""
        return min(filter(None, (engine.context_tokens for engine in self.engines)), default=0)

    @property
    def load(self) -> Load:
        """The sum of the loads of those that report theirs."""
        loads = [engine.load for engine in self.engines if isinstance(engine, Loaded)]
        return Load(sum(load.running for load in loads), sum(load.waiting for load in loads))

    @property
    def trouble(self) -> Trouble:
        """The trouble of the first grader that has any; no answer gets a grade without it."""
        troubles = [engine.trouble for engine in self.engines if isinstance(engine, Troubled)]
        return next((trouble for trouble in troubles if trouble.cause), Trouble())

    async def start(self) -> None:
        """Start all graders, and return when all can grade."""
        try:
            async with asyncio.TaskGroup() as group:
                for engine in self.engines:
                    group.create_task(engine.start())
        except ExceptionGroup as failures:
            raise failures.exceptions[0] from failures

    async def close(self) -> None:
        """Close all graders."""
        await asyncio.gather(*(engine.close() for engine in self.engines))


def verdict_of(groups: Sequence[Sequence[AttributeScores]]) -> PanelVerdict:
    """The verdict that follows from opinions.

    Args:
        groups: opinions about one answer, in groups that should agree: those of all judges, or
            those on one pair in both orders. No group is empty.
    """
    opinions = [opinion for group in groups for opinion in group]
    mean = AttributeScores(
        **{
            name: math.fsum(getattr(each, name) for each in opinions) / len(opinions)
            for name in ATTRIBUTES
        }
    )
    several = [_spread(group) for group in groups if len(group) > 1]
    return PanelVerdict(mean, max(several, default=None))


def require_finite(scores: AttributeScores) -> AttributeScores:
    """The scores; raises ``Poison`` if one of them is not finite."""
    for name in ATTRIBUTES:
        if not math.isfinite(value := getattr(scores, name)):
            raise Poison(
                f"{name} is {value}: a score must be a finite number; check the grader's weights"
            )
    return scores


def _spread(opinions: Sequence[AttributeScores]) -> float:
    return max(
        max(values) - min(values)
        for values in ([float(getattr(each, name)) for each in opinions] for name in ATTRIBUTES)
    )
