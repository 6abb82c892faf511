"""Choices that look random, yet are the same on every machine and in every run."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from random import Random
from typing import TypeVar

Item = TypeVar("Item")


def number(*parts: object) -> int:
    """63 bits that depend on the parts alone."""
    digest = blake2b("|".join(map(str, parts)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


def pick(items: Sequence[Item], *parts: object) -> Item:
    """One of the items, decided by the parts."""
    return items[number(*parts) % len(items)]


def seeded(seed: int) -> Random:
    """Draws that the seed decides."""
    return Random(seed)  # noqa: S311 - nothing here is a secret
