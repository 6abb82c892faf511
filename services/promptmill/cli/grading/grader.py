"""A grader with the settings of a reward worker, and the grading of many rows of answers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from promptmill.reward.pairwise import Pairwise
from promptmill.reward.panel import Answers, Graders, Judged, Panel
from promptmill.reward.service import build_panel
from promptmill.reward.settings import EXAMPLES, RewardSettings
from promptmill.runtime.errors import Misconfigured
from promptmill.stream.stage_settings import parse_settings
from promptmill_schemas import AttributeScores, Message

IN_FLIGHT = 256
"""The maximum number of answers that are graded at the same time."""

Item = tuple[Sequence[Message], tuple[str, ...]]
"""A conversation with the answers to it."""


@dataclass(frozen=True, slots=True)
class Grader:
    """A panel of graders, which is not started yet.

    Attributes:
        weights: the reward is the sum of score × weight.
    """

    panel: Panel
    weights: AttributeScores

    @property
    def compares(self) -> bool:
        """Whether the panel compares answers, so that it cannot grade a single answer."""
        return isinstance(self.panel, Pairwise)


async def grade_all(
    grader: Grader, items: Sequence[Item], done: Callable[[int], None]
) -> list[list[Judged]]:
    """Grade all answers concurrently. An answer that a grader refuses does not stop the others.

    Args:
        grader: not started; its engines are closed when this returns or raises.
        items: conversations with their answers.
        done: called with the number of graded answers after each item.

    Returns:
        For each item the verdict or refusal of each answer.
    """
    places = asyncio.Semaphore(_items_at_once(items))
    graders, finished = Graders(grader.panel.engines), 0

    async def grade(number: int, item: Item) -> list[Judged]:
        nonlocal finished
        messages, texts = item
        async with places:
            judged = await grader.panel.judge(Answers(f"row-{number}", messages, texts))
        finished += len(texts)
        done(finished)
        return judged

    try:
        await graders.start()
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(grade(n, item)) for n, item in enumerate(items)]
    except ExceptionGroup as failures:
        raise failures.exceptions[0] from failures
    finally:
        await graders.close()
    return [task.result() for task in tasks]


def _items_at_once(items: Sequence[Item]) -> int:
    return max(1, IN_FLIGHT // max((len(texts) for _, texts in items), default=1))


def read_grader(flags: Sequence[str]) -> Grader:
    """Create the grader that these flags of ``promptmill run reward`` describe.

    Raises:
        Misconfigured: a value is invalid; the message names it.
        SystemExit: a flag is unknown.
    """
    settings = parse_settings(RewardSettings, flags, EXAMPLES)
    if settings.follows:
        raise Misconfigured(
            f"node_rank is {settings.node_rank}: promptmill grade runs on host number 0 only; "
            "start promptmill run reward with this --node-rank here instead"
        )
    return Grader(build_panel(settings), settings.weights.as_scores())
