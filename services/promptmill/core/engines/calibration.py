"""From a grader's raw scores to the scale that records carry: a line for each attribute."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from promptmill.core.errors import Misconfigured, Poison
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
