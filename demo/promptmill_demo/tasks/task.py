"""A question about a fact; most are for training, some are held out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum

from promptmill_demo.tasks.catalogue import FAMILIES, Kind, load_kinds
from promptmill_demo.tasks.chance import number
from promptmill_demo.tasks.facts import Fact
from promptmill_demo.tasks.words import fill

HELD_OUT_OF = 7
"""One combination of fact and question in so many is never trained on."""


class Split(Enum):
    """What a task is for."""

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
        """What the user asks."""
        text = fill(self.question, self.fact.slots)
        return text[0].upper() + text[1:]

    @property
    def tags(self) -> dict[str, str]:
        """What a checker needs to know; travels with the prompt."""
        return {
            "family": self.kind.family,
            "kind": self.kind.name,
            "subject": self.fact.subject,
            "answer": self.fact.answer,
        }

    @property
    def split(self) -> Split:
        """Decided by the task itself, the same everywhere."""
        held_out = number("split", self.kind.name, self.prompt) % HELD_OUT_OF == 0
        return Split.HELD_OUT if held_out else Split.TRAIN


def all_tasks(split: Split) -> Iterator[Task]:
    """Every combination of fact and question in the split, in a fixed order."""
    for kind in load_kinds().values():
        for fact in kind.facts:
            for question in kind.questions:
                task = Task(kind, fact, question)
                if task.split is split:
                    yield task


def demo_tasks(per_family: int) -> list[Task]:
    """Held-out tasks, as many of each family, spread evenly over its kinds."""
    chosen: list[Task] = []
    for family in FAMILIES:
        tasks = [t for t in all_tasks(Split.HELD_OUT) if t.kind.family == family]
        chosen += _spread(tasks, per_family)
    return sorted(chosen, key=lambda task: number("order", task.prompt))


def _spread(tasks: list[Task], count: int) -> list[Task]:
    """Take turns among the kinds; a prompt that another fact asks in the same words comes once."""
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
