"""Which output of a grader is which attribute, and how raw scores become those of a record."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from promptmill.runtime.errors import Misconfigured, Poison
from promptmill_schemas import ATTRIBUTES, AttributeScores

SCALE = (0.0, 4.0)
"""The range that attributes are usually given in."""

Line = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Calibration:
    """Slope and intercept by attribute; an attribute that is not named stays as it is."""

    lines: Mapping[str, Line] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, line in self.lines.items():
            if name not in ATTRIBUTES:
                raise Misconfigured(f"calibration.{name}: use {', '.join(ATTRIBUTES)}")
            if not all(map(math.isfinite, line)):
                raise Misconfigured(f"calibration.{name} is {line}: give two finite numbers")

    def apply(self, scores: AttributeScores) -> AttributeScores:
        """The calibrated scores.

        Raises:
            Poison: one of them is not finite any more.
        """
        if not self.lines:
            return scores
        values = {name: getattr(scores, name) for name in ATTRIBUTES}
        for name, (slope, intercept) in self.lines.items():
            values[name] = slope * values[name] + intercept
            if not math.isfinite(values[name]):
                raise Poison(
                    f"{name} is {values[name]} after its calibration ({slope:g}, {intercept:g}): "
                    "a score must be a finite number; correct --calibration"
                )
        return AttributeScores(**values)


def from_range(low: float, high: float) -> Calibration:
    """The calibration that spreads scores from ``low`` to ``high`` over the usual scale.

    Raises:
        Misconfigured: the range is empty.
    """
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise Misconfigured(f"score_range is {low:g} to {high:g}: the second must be larger")
    slope = (SCALE[1] - SCALE[0]) / (high - low)
    return Calibration(dict.fromkeys(ATTRIBUTES, (slope, SCALE[0] - low * slope)))


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
