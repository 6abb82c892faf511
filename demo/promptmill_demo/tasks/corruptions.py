"""Training examples of the grader: right answers, and answers with known faults."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random
from typing import Final

from promptmill_demo.tasks import Task
from promptmill_demo.tasks.answers import any_style, ramble, write

RIGHT_SHARE: Final = 0.45
"""The share of right answers among the examples, to which generated answers are added."""


class Examples:
    """Random answers to a set of tasks, good and bad.

    Args:
        tasks: the tasks; the answer to another task serves as an irrelevant answer.
        draws: the random generator.
    """

    def __init__(self, tasks: Sequence[Task], draws: Random) -> None:
        self._tasks = tasks
        self._draws = draws

    def answer(self, task: Task) -> str:
        """Return a random answer; :func:`~promptmill_demo.tasks.labels.label` gives its scores."""
        if self._draws.random() < RIGHT_SHARE:
            return self._written(task, task.fact.answer)
        spoil = self._draws.choices(list(_SPOILERS), list(_SPOILERS.values()))[0]
        return spoil(self, task)

    def _written(self, task: Task, answer: str) -> str:
        return write(task, answer, any_style(self._draws), self._draws)

    def mistaken(self, task: Task) -> str:
        """Return a wrong answer, phrased like a right one."""
        return self._written(task, self._draws.choice(task.kind.mistakes(task.fact)))

    def hedged(self, task: Task) -> str:
        """Return an answer that names both the right answer and a wrong one."""
        both = [task.fact.answer, self._draws.choice(task.kind.mistakes(task.fact))]
        self._draws.shuffle(both)
        return self._written(task, f"{both[0]} or {both[1]}")

    def beside_the_point(self, _task: Task) -> str:
        """Return the answer to another task."""
        other = self._draws.choice(self._tasks)
        return self._written(other, other.fact.answer)

    def cut(self, task: Task) -> str:
        """Return an answer that is cut off."""
        words = self._either(task).split()
        return " ".join(words[: self._draws.randint(1, len(words))])

    def shuffled(self, task: Task) -> str:
        """Return an answer with its words in random order."""
        words = self._either(task).split()
        self._draws.shuffle(words)
        return " ".join(words)

    def rambled(self, task: Task) -> str:
        """Return a rambling answer in any style."""
        return ramble(self._either(task), self._draws)

    def _either(self, task: Task) -> str:
        if self._draws.random() < 0.5:
            return self._written(task, task.fact.answer)
        return self.mistaken(task)


_SPOILERS: Final[dict[Callable[[Examples, Task], str], float]] = {
    Examples.mistaken: 0.66,
    Examples.hedged: 0.06,
    Examples.beside_the_point: 0.08,
    Examples.cut: 0.05,
    Examples.shuffled: 0.03,
    Examples.rambled: 0.12,
}
