"""The shipped models in real vLLM: the grader's choice is better than the generator's chance."""

from __future__ import annotations

import asyncio
from pathlib import Path

import numpy as np
import pytest

from promptmill.inference.ports import GenerateRequest, GradeRequest
from promptmill.inference.vllm.generate import VllmGenerator
from promptmill.inference.vllm.grade import VllmGrader
from promptmill.inference.vllm.options import VllmOptions
from promptmill_demo.models import make_demo_models
from promptmill_demo.models.demo import SHIPPED
from promptmill_demo.tasks import FAMILIES, Task, demo_tasks
from promptmill_demo.tasks.examples import PER_FAMILY
from promptmill_demo.training.policy import kept_figures
from promptmill_schemas import ATTRIBUTES, Message, Sampling
from support.engines import started

pytestmark = [
    pytest.mark.vllm,
    pytest.mark.filterwarnings("ignore"),
    pytest.mark.skipif(
        not (SHIPPED / "MODEL_CARD.md").is_file(),
        reason="this clone ships no trained weights yet: scripts/train_demo_models makes them",
    ),
]

CANDIDATES = 4
SAMPLING = Sampling(max_tokens=64)


def asked(task: Task) -> tuple[Message, ...]:
    return (Message(role="user", content=task.prompt),)


async def answers_to(tasks: list[Task], folder: Path) -> list[list[str]]:
    """Four answers to each task, at temperature 1."""
    async with started(VllmGenerator(VllmOptions(str(folder)))) as engine:
        drawn = await asyncio.gather(
            *(
                engine.generate(GenerateRequest(f"{t}-{n}", asked(task), SAMPLING, 4 * t + n))
                for t, task in enumerate(tasks)
                for n in range(CANDIDATES)
            )
        )
    texts = [answer.text for answer in drawn]
    return [texts[at : at + CANDIDATES] for at in range(0, len(texts), CANDIDATES)]


async def scores_of(tasks: list[Task], answers: list[list[str]], folder: Path) -> list[list[float]]:
    """The five scores of each answer."""
    async with started(VllmGrader(VllmOptions(str(folder)))) as engine:
        graded = await asyncio.gather(
            *(
                engine.grade(GradeRequest(f"{t}-{n}", asked(task), answer))
                for t, task in enumerate(tasks)
                for n, answer in enumerate(answers[t])
            )
        )
    return [[getattr(scores, name) for name in ATTRIBUTES] for scores in graded]


async def test_the_filter_keeps_what_is_right(tmp_path: Path) -> None:
    models, tasks = make_demo_models(tmp_path), demo_tasks(PER_FAMILY)
    answers = await answers_to(tasks, models.instruct)
    scores = np.array(await scores_of(tasks, answers, models.reward))
    figures = kept_figures(tasks, answers, scores.reshape(len(tasks), CANDIDATES, -1))
    assert 0.5 <= figures["accuracy_all"] <= 0.7, figures
    assert figures["accuracy_accepted"] >= figures["accuracy_all"] + 0.20, figures
    assert figures["kept"] >= 0.30, figures
    gains = [
        row["accuracy_accepted"] - row["accuracy_all"] for row in figures["by_family"].values()
    ]
    assert len(gains) == len(FAMILIES)
    assert sum(gains) / len(gains) >= 0.15, figures
