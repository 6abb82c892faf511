"""Pseudo-random choices that are the same on every machine and in every run."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from random import Random
from typing import TypeVar

Item = TypeVar("Item")


def number(*parts: object) -> int:
    """Return a 63-bit number that depends only on the parts."""
    digest = blake2b("|".join(map(str, parts)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


def pick(items: Sequence[Item], *parts: object) -> Item:
    """Return one of the items, which depends only on the parts."""
    return items[number(*parts) % len(items)]


def seeded(seed: int) -> Random:
    """Return a random generator with this seed."""
    return Random(seed)  # noqa: S311 - nothing here is a secret
