"""Deterministic identities: the same input has the same id, everywhere and always.

Every id is the BLAKE2b digest of a canonical JSON array whose first element says what it
identifies, so ids of different kinds never meet. 128 bits: among 10^12 ids the chance of one
collision is about 1.5e-15.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import Any

import orjson

ID_BYTES = 16
SEED_BYTES = 8
SEED_MASK = (1 << 63) - 1


def digest(kind: str, *parts: Any) -> str:
    """32 hexadecimal digits for ``parts`` (anything JSON can hold)."""
    return _blake([kind, *parts], ID_BYTES).hex()


def prompt_id(
    run: str, messages: list[list[str]], n: int, sampling: dict[str, Any], adapter: str | None
) -> str:
    """The id of a prompt: what is asked, how often, and with which sampling.

    Args:
        run: name of the run.
        messages: ``[[role, content], …]``.
        n: number of candidates.
        sampling: only the settings that differ from their defaults, so that a new setting
            with a default leaves the old ids as they are.
        adapter: name of the LoRA adapter that answers; ``None`` (the model itself) leaves
            the id as it is without the field.
    """
    parts: list[Any] = [run, messages, n, sampling]
    return digest("prompt", *parts) if adapter is None else digest("prompt", *parts, adapter)


def candidate_seed(prompt: str, index: int) -> int:
    """The seed of candidate ``index``: 63 bits, other for each candidate and prompt."""
    return int.from_bytes(_blake(["seed", prompt, index], SEED_BYTES), "big") & SEED_MASK


def text_digest(text: str) -> str:
    """The id of an answer's text."""
    return blake2b(text.encode(), digest_size=ID_BYTES).hexdigest()


def record_id(prompt: str, kind: str, *answers: str) -> str:
    """The id of a training record: the prompt, its kind, the digests of the answers in it."""
    return digest("record", prompt, kind, *answers)


def letter_id(topic: str, partition: int, offset: int, replays: int) -> str:
    """The id of a dead letter: where its original stands, so that one failure is one letter."""
    return digest("letter", topic, partition, offset, replays)


def _blake(parts: list[Any], size: int) -> bytes:
    return blake2b(orjson.dumps(parts, option=orjson.OPT_SORT_KEYS), digest_size=size).digest()
