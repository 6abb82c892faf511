"""Answers through a grader, as many at once as it takes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from promptmill.core.engines.base import GradeRequest
from promptmill.core.errors import Poison
from promptmill.gateway.grading.reward import Grader
from promptmill_schemas import AttributeScores, Message

IN_FLIGHT = 256

Item = tuple[Sequence[Message], str]


async def grade_all(
    grader: Grader, items: Sequence[Item], done: Callable[[int], None]
) -> list[AttributeScores | None]:
    """The scores of each answer in its conversation; ``None`` where the grader refuses it.

    Args:
        grader: its engine is not started yet; closed when this returns or raises.
        done: told how many are graded, after each.
    """
    places, finished = asyncio.Semaphore(IN_FLIGHT), 0

    async def grade(number: int, item: Item) -> AttributeScores | None:
        nonlocal finished
        messages, answer = item
        async with places:
            try:
                return await grader.grade(GradeRequest(f"row-{number}", messages, answer))
            except Poison:
                return None
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
