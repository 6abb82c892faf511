"""The facts that tasks ask for, expanded from the several layouts of the tables."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from typing import Any

from promptmill_demo.tasks.chance import pick

LARGEST_TERM = 6
LARGEST_COUNT = 24
LARGEST_DOUBLED = 15


@dataclass(frozen=True, slots=True)
class Fact:
    """A fact with its right answer.

    Attributes:
        slots: the values for the templates of its kind.
        answer: the right answer, whose words every correct answer contains.
        wrong: the wrong answers; if empty, all other answers of the kind are wrong answers.
    """

    slots: Mapping[str, str]
    answer: str
    wrong: tuple[str, ...] = ()

    @property
    def subject(self) -> str:
        """The subject, which a question repeats, and which does not count as an answer."""
        return self.slots["s"]


def facts_of(table: Mapping[str, Any]) -> list[Fact]:
    """Expand the table of one kind into its facts."""
    for form, expand in _FORMS.items():
        if form in table:
            return list(expand(table))
    return list(_COUNTED[table["name"]]())


def _plain(table: Mapping[str, Any]) -> Iterator[Fact]:
    for subject, answer in table["facts"].items():
        yield Fact({"s": subject}, answer)


def _grouped(table: Mapping[str, Any]) -> Iterator[Fact]:
    for group, members in table["groups"].items():
        for member in members:
            for noun in table.get("nouns", [None]):
                text = member if noun is None else f"The {noun} was {member}."
                yield Fact({"s": text}, group)


def _past(table: Mapping[str, Any]) -> Iterator[Fact]:
    for subject, (now, then, mistake) in product(table["subjects"], table["verbs"]):
        wrong = (f"{subject} {mistake}", f"{subject} {now}")
        yield Fact({"s": f"{subject} {now}."}, f"{subject} {then}", wrong)


def _plural(table: Mapping[str, Any]) -> Iterator[Fact]:
    for one, two, mistake in table["nouns"]:
        yield Fact({"s": one}, two, (mistake, f"two {one}"))


def _options(table: Mapping[str, Any]) -> Iterator[Fact]:
    """Ask for each member's group, with the right group and a wrong one in both orders."""
    groups = table["options"]
    for group, members in groups.items():
        for member in members:
            other = pick([name for name in groups if name != group], "option", member)
            for one, two in ((group, other), (other, group)):
                yield Fact({"s": member, "t": one, "u": two}, group, (other,))


def _calculation(x: int, word: str, y: int, result: int) -> Fact:
    wrong = tuple(str(result + step) for step in (-2, -1, 1, 2) if result + step >= 0)
    return Fact({"s": f"{x} {word} {y}", "x": str(x), "y": str(y)}, str(result), wrong)


def _sums() -> Iterator[Fact]:
    for x, y in product(range(1, LARGEST_TERM + 1), repeat=2):
        yield _calculation(x, "plus", y, x + y)


def _counted(largest: int, change: Callable[[int], int]) -> Iterator[Fact]:
    for number in range(1, largest + 1):
        result = change(number)
        wrong = {result - 2, result + 2, number, result + 10} - {result}
        yield Fact({"s": str(number)}, str(result), tuple(str(w) for w in sorted(wrong) if w >= 0))


_FORMS: dict[str, Callable[[Mapping[str, Any]], Iterator[Fact]]] = {
    "facts": _plain,
    "groups": _grouped,
    "verbs": _past,
    "options": _options,
    "nouns": _plural,
}
_COUNTED: dict[str, Callable[[], Iterator[Fact]]] = {
    "sum": _sums,
    "next": lambda: _counted(LARGEST_COUNT, lambda number: number + 1),
    "before": lambda: _counted(LARGEST_COUNT, lambda number: number - 1),
    "double": lambda: _counted(LARGEST_DOUBLED, lambda number: number * 2),
}
