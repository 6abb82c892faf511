"""Which of a classifier's outputs is which attribute."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from promptmill.core.errors import Misconfigured, Poison
from promptmill_schemas import ATTRIBUTES, AttributeScores

NEMOTRON_ORDER = ("quality", "toxicity", "humor", "creativity", *ATTRIBUTES)
"""The nine outputs of the Nemotron-4-340B-Reward checkpoint, which names none of them."""

SCALAR_ATTRIBUTES = ("helpfulness", "correctness", "coherence")
"""What a single score is taken for; it says nothing of complexity and verbosity."""

_UNNAMED = re.compile(r"LABEL_\d+")


@dataclass(frozen=True, slots=True)
class Heads:
    """The output's index for each attribute in order; ``None`` is always 0.0."""

    indexes: tuple[int | None, ...]

    def scores(self, logits: Sequence[float]) -> AttributeScores:
        """The five raw scores.

        Raises:
            Poison: one of them is not finite; such an answer is never accepted.
        """
        values = {
            name: 0.0 if index is None else float(logits[index])
            for name, index in zip(ATTRIBUTES, self.indexes, strict=True)
        }
        for name, value in values.items():
            if not math.isfinite(value):
                raise Poison(
                    f"{name} is {value}: a score must be a finite number; the answer cannot be "
                    "graded by this model (check its weights and dtype)"
                )
        return AttributeScores(**values)


def read_heads(labels: Sequence[str], names: Mapping[str, str] | None = None) -> Heads:
    """The attributes' places among a model's labels, by their names.

    Args:
        labels: of the model's outputs, in order.
        names: the label, or the index, of each attribute that has one; the others are 0.0.
            Without any, understood are the five names as they are, the five with one common
            prefix (``helpsteer-helpfulness``), a single output, and nine unnamed ones in
            Nemotron's order.

    Raises:
        Misconfigured: the labels fit none of these.
    """
    if names:
        return Heads(tuple(_place(labels, names.get(name)) for name in ATTRIBUTES))
    if len(labels) == 1:
        return Heads(tuple(0 if name in SCALAR_ATTRIBUTES else None for name in ATTRIBUTES))
    if len(labels) == len(NEMOTRON_ORDER) and all(map(_UNNAMED.fullmatch, labels)):
        labels = NEMOTRON_ORDER
    found = _complete_sets(labels)
    if len(found) != 1:
        raise Misconfigured(
            f"the grader's labels are {', '.join(labels)}; they must name each of "
            f"{', '.join(ATTRIBUTES)} once, alone or with one common prefix; map them with "
            "--heads.helpfulness LABEL and so on, or correct id2label in config.json"
        )
    return Heads(found[0])


def _place(labels: Sequence[str], name: str | None) -> int | None:
    """The index of one label, given by its name or by the index itself."""
    if name is None:
        return None
    lowered = [label.lower() for label in labels]
    if lowered.count(name.lower()) == 1:
        return lowered.index(name.lower())
    if name.isdecimal() and int(name) < len(labels):
        return int(name)
    raise Misconfigured(
        f"heads has {name!r}, the grader's labels are {', '.join(labels)}: give one of them, or "
        f"an index from 0 to {len(labels) - 1}"
    )


def _complete_sets(labels: Sequence[str]) -> list[tuple[int, ...]]:
    """The indexes of the five attributes for every prefix that has them all."""
    lowered = [label.lower() for label in labels]
    first = ATTRIBUTES[0]
    prefixes = {label[: -len(first)] for label in lowered if label.endswith(first)}
    sets = []
    for prefix in sorted(prefixes):
        wanted = [prefix + name for name in ATTRIBUTES]
        if all(lowered.count(label) == 1 for label in wanted):
            sets.append(tuple(lowered.index(label) for label in wanted))
    return sets
