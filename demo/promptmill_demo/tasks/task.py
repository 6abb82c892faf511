"""Tasks: questions about facts, most for training and some held out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum

from promptmill_demo.tasks.catalogue import FAMILIES, Kind, load_kinds
from promptmill_demo.tasks.chance import number
from promptmill_demo.tasks.facts import Fact
from promptmill_demo.tasks.words import fill

HELD_OUT_OF = 7
"""One in this many combinations of fact and question is held out from training."""


class Split(Enum):
    """The use of a task."""

    TRAIN = "train"
    HELD_OUT = "held_out"


@dataclass(frozen=True, slots=True)
class Task:
    """One question about one fact."""

    kind: Kind
    fact: Fact
    question: str

    @property
    def prompt(self) -> str:
        """The text of the question."""
        text = fill(self.question, self.fact.slots)
        return text[0].upper() + text[1:]

    @property
    def tags(self) -> dict[str, str]:
        """The ground truth for checking answers, as tags of the prompt."""
        return {
            "family": self.kind.family,
            "kind": self.kind.name,
            "subject": self.fact.subject,
            "answer": self.fact.answer,
        }

    @property
    def split(self) -> Split:
        """The task's split, which depends only on the task."""
        held_out = number("split", self.kind.name, self.prompt) % HELD_OUT_OF == 0
        return Split.HELD_OUT if held_out else Split.TRAIN


def all_tasks(split: Split) -> Iterator[Task]:
    """Yield every combination of fact and question in the split, in a fixed order."""
    for kind in load_kinds().values():
        for fact in kind.facts:
            for question in kind.questions:
                task = Task(kind, fact, question)
                if task.split is split:
                    yield task


def demo_tasks(per_family: int) -> list[Task]:
    """Return the same number of held-out tasks of each family, spread evenly over its kinds."""
    chosen: list[Task] = []
    for family in FAMILIES:
        tasks = [t for t in all_tasks(Split.HELD_OUT) if t.kind.family == family]
        chosen += _spread(tasks, per_family)
    return sorted(chosen, key=lambda task: number("order", task.prompt))


def _spread(tasks: list[Task], count: int) -> list[Task]:
    """Choose tasks from the kinds in turn, without repeating a prompt's text."""
    by_kind: dict[str, list[Task]] = {}
    for task in sorted(tasks, key=lambda task: number("demo", task.kind.name, task.prompt)):
        by_kind.setdefault(task.kind.name, []).append(task)
    turns = sorted(
        (place, name, task.prompt, task)
        for name, group in by_kind.items()
        for place, task in enumerate(group)
    )
    unique = {prompt: task for *_, prompt, task in turns}
    return list(unique.values())[:count]
