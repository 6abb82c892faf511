"""The steps of a training; each one saves its result in a folder, and is not repeated."""

from __future__ import annotations

import json
import sys
import time
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from promptmill_demo.models.instruct import CONTEXT as INSTRUCT_CONTEXT
from promptmill_demo.models.reward import CONTEXT as REWARD_CONTEXT
from promptmill_demo.models.templates import INSTRUCT_TEMPLATE, REWARD_TEMPLATE
from promptmill_demo.models.tokenizer import train_tokenizer
from promptmill_demo.tasks import Task
from promptmill_demo.tasks.chance import seeded
from promptmill_demo.training.encoding import TaskDraws, tokenizer_text
from promptmill_demo.training.generator import new_generator, train_generator
from promptmill_demo.training.grader import learn_facts, learn_grading, new_grader
from promptmill_demo.training.optimise import TrainingSchedule
from promptmill_demo.training.sampling import draw_answers

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast


@dataclass(frozen=True, slots=True)
class Plan:
    """The schedules of a training.

    Attributes:
        instruct_facts, instruct_manner: schedules of the generator's two phases.
        reward_facts: schedule of the grader's phase on short answers, right and wrong.
        reward_grading: schedule of the grader's phase on answers of all kinds.
        sampled: number of the generator's answers that the last phase uses.
    """

    instruct_facts: TrainingSchedule
    instruct_manner: TrainingSchedule
    reward_facts: TrainingSchedule
    reward_grading: TrainingSchedule
    sampled: int


FULL: Final = Plan(
    instruct_facts=TrainingSchedule(5_000, learning_rate=2e-3),
    instruct_manner=TrainingSchedule(2_400, learning_rate=1e-3),
    reward_facts=TrainingSchedule(4_000, learning_rate=2e-3),
    reward_grading=TrainingSchedule(2_000, learning_rate=1e-3),
    sampled=4_000,
)
"""The plan of the shipped weights."""

QUICK: Final = Plan(
    TrainingSchedule(20),
    TrainingSchedule(20),
    TrainingSchedule(20),
    TrainingSchedule(20),
    sampled=64,
)
"""A plan with very short steps, to check that all of them work."""


class Stages:
    """One training in one folder.

    Args:
        work: folder for the weights of each step; a step that it already holds is not repeated.
        plan: the schedules.
        seed: seed of the training.
    """

    def __init__(self, work: Path, plan: Plan, seed: int) -> None:
        self._work = work
        self._plan = plan
        self._seed = seed

    @cached_property
    def instruct_tokenizer(self) -> PreTrainedTokenizerFast:
        """The tokenizer with the chat template of a generator."""
        text = tokenizer_text(self._seed)
        return train_tokenizer(text, template=INSTRUCT_TEMPLATE, context=INSTRUCT_CONTEXT)

    @cached_property
    def reward_tokenizer(self) -> PreTrainedTokenizerFast:
        """The same tokenizer with the chat template of a grader."""
        text = tokenizer_text(self._seed)
        return train_tokenizer(text, template=REWARD_TEMPLATE, context=REWARD_CONTEXT)

    def generator(self) -> Any:
        """Return the trained generator."""
        return self._weights(
            "generator",
            lambda: train_generator(
                self.instruct_tokenizer,
                self._plan.instruct_facts,
                self._plan.instruct_manner,
                self._seed,
            ),
            lambda: new_generator(self.instruct_tokenizer),
        )

    def facts(self) -> Any:
        """Return the grader after its first phase, which does not need the generator."""
        return self._weights(
            "facts",
            lambda: learn_facts(self.reward_tokenizer, self._plan.reward_facts, self._seed + 1),
            lambda: new_grader(self.reward_tokenizer),
        )

    def sampled(self) -> list[tuple[Task, str]]:
        """Return the generator's answers to training tasks."""
        draws = TaskDraws(seeded(self._seed + 2))
        tasks = [draws.one() for _ in range(self._plan.sampled)]
        path = self._work / "sampled.json"
        if not path.is_file():
            answers = draw_answers(self.generator(), self.instruct_tokenizer, tasks, self._seed + 3)
            path.write_text(json.dumps(answers), "utf-8")
        return list(zip(tasks, json.loads(path.read_text("utf-8")), strict=True))

    def grader(self) -> Any:
        """Return the trained grader."""
        return self._weights(
            "grader",
            lambda: learn_grading(
                self.facts(),
                self.reward_tokenizer,
                self.sampled(),
                self._plan.reward_grading,
                self._seed + 4,
            ),
            lambda: new_grader(self.reward_tokenizer),
        )

    def _weights(self, name: str, train: Any, new: Any) -> Any:
        """Return the model of a step, trained now or loaded from an earlier run."""
        import torch

        path = self._work / f"{name}.pt"
        if path.is_file():
            model = new()
            model.load_state_dict(torch.load(path, weights_only=True))
            return model.eval()
        self._work.mkdir(parents=True, exist_ok=True)
        begin = time.monotonic()
        model = train()
        torch.save(model.state_dict(), path)
        (self._work / f"{name}.seconds").write_text(f"{time.monotonic() - begin:.0f}\n")
        return model


def run_stage(work: Path, plan: Plan, seed: int, name: str) -> None:
    """Run one step in a single thread, so that sums are always computed in the same order."""
    import torch

    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(mode=True)
    stages = Stages(work, plan, seed)
    sys.stderr.write(f"training: {name}\n")
    {"generator": stages.generator, "facts": stages.facts, "grader": stages.grader}[name]()
