"""Weights by score or tag, which define how often a record is delivered."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import TypeAlias

import xxhash

from promptmill.runtime.errors import Misconfigured
from promptmill_schemas import ATTRIBUTES, Record

Weight: TypeAlias = Callable[[Record], float]
"""A function that returns how often a record is delivered on average; 0 skips it."""

MAX_WEIGHT = 1_000
WORD = 2.0**64


def by_tag(name: str, weights: Mapping[str, float], default: float = 1.0) -> Weight:
    """Return a function that weights a record by the value of one of its tags.

    Args:
        name: the tag.
        weights: the weights, by the tag's value.
        default: the weight of other values, and of records without the tag.
    """
    return partial(_tag_weight, name=name, weights=dict(weights), default=default)


def _tag_weight(record: Record, name: str, weights: Mapping[str, float], default: float) -> float:
    return weights.get(record.tags.get(name, ""), default)


def by_score(attribute: str, at_least: Mapping[float, float]) -> Weight:
    """Return a function that weights a record by one of the five scores of the chosen answer.

    Args:
        attribute: the attribute, for example ``helpfulness``.
        at_least: the weight from each score upwards, for example ``{2.5: 1, 3.5: 2}``; a record
            below the lowest score is skipped.

    Raises:
        Misconfigured: there is no such attribute.
    """
    if attribute not in ATTRIBUTES:
        raise Misconfigured(
            f"attribute {attribute!r} does not exist; choose from {', '.join(ATTRIBUTES)}"
        )
    steps = sorted(at_least.items(), reverse=True)
    return partial(_score_weight, attribute=attribute, steps=steps)


def _score_weight(record: Record, attribute: str, steps: list[tuple[float, float]]) -> float:
    score = getattr(record.scores, attribute)
    return next((weight for least, weight in steps if score >= least), 0.0)


def copies_of(record: Record, weight: Weight) -> int:
    """Return how often this record is delivered; the same record always gives the same number.

    With a weight of 2.5, half of the records get two copies, and the others get three.

    Raises:
        Misconfigured: the weight is not a number from 0 to :data:`MAX_WEIGHT`.
    """
    wanted = weight(record)
    if not 0 <= wanted <= MAX_WEIGHT:
        raise Misconfigured(
            f"the weight of record {record.record_id} is {wanted}; return a number from 0 to "
            f"{MAX_WEIGHT}"
        )
    whole = int(wanted)
    draw = xxhash.xxh3_64_intdigest(f"weight/{record.record_id}".encode()) / WORD
    return whole + (draw < wanted - whole)
