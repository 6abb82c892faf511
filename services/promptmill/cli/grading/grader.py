"""A grader with the settings of a reward worker, and the grading of many answers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from promptmill.inference.engines import build_grader
from promptmill.inference.ports import GraderEngine, GradeRequest
from promptmill.inference.scores import Calibration
from promptmill.reward.settings import EXAMPLES, RewardSettings
from promptmill.runtime.errors import Misconfigured, Poison
from promptmill.stream.stage_settings import parse_settings
from promptmill_schemas import AttributeScores, Message

IN_FLIGHT = 256

Item = tuple[Sequence[Message], str]

Graded = AttributeScores | str
"""The scores of an answer, or the reason why the grader refused it."""


async def grade_all(
    grader: Grader, items: Sequence[Item], done: Callable[[int], None]
) -> list[Graded]:
    """Grade all answers concurrently. An answer that the grader refuses does not stop the others.

    Args:
        grader: not started; its engine is closed when this returns or raises.
        items: conversations with their answers.
        done: called with the number of graded answers after each one.
    """
    places, finished = asyncio.Semaphore(IN_FLIGHT), 0

    async def grade(number: int, item: Item) -> Graded:
        nonlocal finished
        messages, answer = item
        async with places:
            try:
                return await grader.grade(GradeRequest(f"row-{number}", messages, answer))
            except Poison as error:
                return str(error)
            finally:
                finished += 1
                done(finished)

    try:
        await grader.engine.start()
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(grade(n, item)) for n, item in enumerate(items)]
    except ExceptionGroup as failures:
        raise failures.exceptions[0] from failures
    finally:
        await grader.engine.close()
    return [task.result() for task in tasks]


@dataclass(frozen=True, slots=True)
class Grader:
    """An engine with what is done to its scores.

    Attributes:
        engine: not started yet.
        weights: the reward is the sum of score × weight.
    """

    engine: GraderEngine
    weights: AttributeScores
    calibration: Calibration

    async def grade(self, request: GradeRequest) -> AttributeScores:
        """The calibrated scores; errors are the engine's."""
        return self.calibration.apply(await self.engine.grade(request))


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
    engine = build_grader(
        settings.engine,
        settings.model,
        vllm=settings.vllm_options(),
        http=settings.http_options() if settings.engine == "openai" else None,
        grading=settings.grading(),
    )
    return Grader(engine, settings.weights.as_scores(), settings.calibrated())
