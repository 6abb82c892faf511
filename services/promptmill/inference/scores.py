"""From a grader's outputs to the scores of a record.

:class:`Heads` selects the output of each attribute, and :class:`Calibration` maps the raw scores
to the usual scale.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from promptmill.runtime.errors import Misconfigured, Poison
from promptmill_schemas import ATTRIBUTES, AttributeScores

NEMOTRON_ORDER = ("quality", "toxicity", "humor", "creativity", *ATTRIBUTES)
"""The order of the nine outputs of Nemotron-4-340B-Reward, whose checkpoint does not name them."""

SCALAR_ATTRIBUTES = ("helpfulness", "correctness", "coherence")
"""The attributes that get the score of a model with a single output.

Such a score says nothing about complexity and verbosity.
"""

SCALE = (0.0, 4.0)
"""The usual range of an attribute's score."""

Line = tuple[float, float]

_UNNAMED = re.compile(r"LABEL_\d+")


@dataclass(frozen=True, slots=True)
class Heads:
    """The index of the output of each attribute.

    Attributes:
        indexes: in the order of ``ATTRIBUTES``; an attribute without an output (``None``) always
            scores 0.0.
    """

    indexes: tuple[int | None, ...]

    def scores(self, logits: Sequence[float]) -> AttributeScores:
        """Select the five raw scores from the model's outputs.

        Raises:
            Poison: a score is not finite. Such an answer is never accepted.
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
    """Find the output of each attribute among a model's labels.

    Without ``names``, four kinds of labels are recognised: the names of the five attributes, the
    same names with a common prefix (``helpsteer-helpfulness``), a single output, and nine unnamed
    outputs in Nemotron's order.

    Args:
        labels: the labels of the model's outputs, in order.
        names: the label or index by attribute; attributes that are not in it score 0.0.

    Raises:
        Misconfigured: the attributes cannot be found among the labels.
    """
    if names:
        return Heads(tuple(_index_of(labels, names.get(name)) for name in ATTRIBUTES))
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


@dataclass(frozen=True, slots=True)
class Calibration:
    """A linear map of each attribute's score.

    Attributes:
        lines: slope and intercept by attribute; the scores of other attributes stay unchanged.
    """

    lines: Mapping[str, Line] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, line in self.lines.items():
            if name not in ATTRIBUTES:
                raise Misconfigured(f"calibration.{name}: use {', '.join(ATTRIBUTES)}")
            if not all(map(math.isfinite, line)):
                raise Misconfigured(f"calibration.{name} is {line}: give two finite numbers")

    def apply(self, scores: AttributeScores) -> AttributeScores:
        """Return the calibrated scores.

        Raises:
            Poison: a calibrated score is not finite.
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
    """The calibration that maps scores from ``low`` to ``high`` onto :data:`SCALE`.

    Raises:
        Misconfigured: ``low`` is not below ``high``, or one of them is not finite.
    """
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise Misconfigured(f"score_range is {low:g} to {high:g}: the second must be larger")
    slope = (SCALE[1] - SCALE[0]) / (high - low)
    return Calibration(dict.fromkeys(ATTRIBUTES, (slope, SCALE[0] - low * slope)))


def _index_of(labels: Sequence[str], name: str | None) -> int | None:
    """The index of a label that is given by its name or by the index itself."""
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
    """The indexes of the five attributes, for each prefix with which all five occur."""
    lowered = [label.lower() for label in labels]
    first = ATTRIBUTES[0]
    prefixes = {label[: -len(first)] for label in lowered if label.endswith(first)}
    sets = []
    for prefix in sorted(prefixes):
        wanted = [prefix + name for name in ATTRIBUTES]
        if all(lowered.count(label) == 1 for label in wanted):
            sets.append(tuple(lowered.index(label) for label in wanted))
    return sets
