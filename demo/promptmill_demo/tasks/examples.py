"""The data files that are generated from tasks: the demo's prompts and labelled answers."""

from __future__ import annotations

import json
from collections.abc import Iterator
from random import Random
from typing import Any, Final

from promptmill_demo.tasks import Task, demo_tasks
from promptmill_demo.tasks.answers import ramble, write
from promptmill_demo.tasks.chance import seeded
from promptmill_demo.tasks.corruptions import Examples
from promptmill_demo.tasks.labels import label

PER_FAMILY: Final = 50
LABELLED_PER_FAMILY: Final = 24
SEED: Final = 5


def demo_prompts() -> Iterator[str]:
    """Yield ``data/tasks/demo.jsonl``: prompts with ground truth in their tags."""
    for task in demo_tasks(PER_FAMILY):
        yield _line({"prompt": task.prompt, "tags": task.tags})


def rewardbench_pairs() -> Iterator[str]:
    """Yield ``data/examples/rewardbench.jsonl``: pairs of a good answer and a worse one.

    The subset names the family of the task, and whether the worse answer is wrong or rambling.
    """
    draws = seeded(SEED)
    for number, task in enumerate(demo_tasks(LABELLED_PER_FAMILY)):
        chosen, rejected, fault = _pair(task, draws)
        yield _line(
            {
                "id": number,
                "subset": f"{task.kind.family}-{fault}",
                "prompt": task.prompt,
                "chosen": chosen,
                "rejected": rejected,
            }
        )


def helpsteer2_rows() -> Iterator[str]:
    """Yield ``data/examples/helpsteer2.jsonl``: answers with integer scores from 0 to 4."""
    draws = seeded(SEED)
    tasks = demo_tasks(LABELLED_PER_FAMILY)
    examples = Examples(tasks, draws)
    for task in tasks:
        response = examples.answer(task)
        scores = label(response, task.tags).model_dump()
        rounded = {name: round(value) for name, value in scores.items()}
        yield _line({"prompt": task.prompt, "response": response, **rounded})


FILES: Final = {
    "tasks/demo.jsonl": demo_prompts,
    "examples/rewardbench.jsonl": rewardbench_pairs,
    "examples/helpsteer2.jsonl": helpsteer2_rows,
}
"""The generated files under ``data/``, with the functions that yield their lines."""


def _pair(task: Task, draws: Random) -> tuple[str, str, str]:
    style = draws.choice(("terse", "plain", "explained"))
    right = write(task, task.fact.answer, style, draws)
    if draws.random() < 0.2:
        return right, ramble(right, draws), "rambling"
    mistake = draws.choice(task.kind.mistakes(task.fact))
    return right, write(task, mistake, style, draws), "wrong"


def _line(row: dict[str, Any]) -> str:
    return json.dumps(row, ensure_ascii=False)
