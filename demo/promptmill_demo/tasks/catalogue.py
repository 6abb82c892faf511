"""The shipped tables of tasks: the kinds of each family, with their facts and templates."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import cache, cached_property
from importlib import resources
from typing import Any, Final

from promptmill_demo.tasks.facts import Fact, facts_of

FAMILIES: Final = ("open_qa", "rewrite", "closed_qa", "classify", "math")


@dataclass(frozen=True)
class Kind:
    """Facts that share the same templates of questions and answers.

    Attributes:
        family: the family to which the kind belongs.
        name: name of the kind.
        questions, sentences, reasons: templates with a fact's slots; the last two also have the
            slot ``a`` for the answer. A sentence states the answer, and a reason explains it.
        facts: the facts.
    """

    family: str
    name: str
    questions: tuple[str, ...]
    sentences: tuple[str, ...]
    reasons: tuple[str, ...]
    facts: tuple[Fact, ...]

    @cached_property
    def vocabulary(self) -> frozenset[str]:
        """All right and wrong answers to tasks of this kind."""
        return frozenset(answer for fact in self.facts for answer in (fact.answer, *fact.wrong))

    def mistakes(self, fact: Fact) -> tuple[str, ...]:
        """Return the wrong answers to a fact."""
        return fact.wrong or tuple(sorted(self.vocabulary - {fact.answer}))


@cache
def load_kinds() -> dict[str, Kind]:
    """Load all kinds, by name."""
    kinds = [_kind(family, table) for family in FAMILIES for table in _tables(family)]
    return {kind.name: kind for kind in kinds}


def kind_named(name: str) -> Kind:
    """Return the kind of this name; raise ``KeyError`` if there is none."""
    return load_kinds()[name]


def _tables(family: str) -> list[dict[str, Any]]:
    file = resources.files("promptmill_demo.tasks").joinpath(f"{family}.toml")
    tables: list[dict[str, Any]] = tomllib.loads(file.read_text("utf-8"))["kinds"]
    return tables


def _kind(family: str, table: dict[str, Any]) -> Kind:
    return Kind(
        family,
        table["name"],
        tuple(table["questions"]),
        tuple(table["sentences"]),
        tuple(table["reasons"]),
        tuple(facts_of(table)),
    )
