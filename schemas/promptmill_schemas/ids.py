"""Deterministic ids: the same input has the same id on every host and in every version.

Each id is the BLAKE2b digest of a canonical JSON array whose first element names the kind of the
id, so that ids of different kinds do not collide. Ids have 128 bits: among 10^12 of them, the
probability of a collision is about 1.5e-15.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import Any

import orjson

ID_BYTES = 16
SEED_BYTES = 8
SEED_MASK = (1 << 63) - 1


def digest(kind: str, *parts: Any) -> str:
    """Return the id of ``parts``, which can be any JSON values, as 32 hexadecimal digits."""
    return _blake([kind, *parts], ID_BYTES).hex()


def prompt_id(
    run: str,
    messages: list[list[Any]],
    n: int,
    sampling: dict[str, Any],
    adapter: str | None,
    further: dict[str, Any] | None = None,
) -> str:
    """Return the id of a prompt.

    Args:
        run: name of the run.
        messages: ``[[role, content], …]``; a turn's other fields are an object as third item.
        n: number of candidates.
        sampling: only the settings that differ from their defaults, so that a new setting with a
            default does not change existing ids.
        adapter: name of the LoRA adapter; ``None`` uses the model itself and adds nothing to the
            digest.
        further: the other fields of the prompt that are part of the id and present, by name.
    """
    content = prompt_content(run, messages, n, sampling, adapter, further)
    return blake2b(content, digest_size=ID_BYTES).hexdigest()


def prompt_content(
    run: str,
    messages: list[list[Any]],
    n: int,
    sampling: dict[str, Any],
    adapter: str | None,
    further: dict[str, Any] | None = None,
) -> bytes:
    """Return the canonical JSON whose digest is :func:`prompt_id`."""
    parts: list[Any] = ["prompt", run, messages, n, sampling]
    optional = (adapter, further or None)
    return _canonical([*parts, *(part for part in optional if part is not None)])


def candidate_seed(prompt: str, index: int) -> int:
    """Return the seed of candidate ``index``, which has 63 bits and depends on the prompt's id."""
    return int.from_bytes(_blake(["seed", prompt, index], SEED_BYTES), "big") & SEED_MASK


def text_digest(text: str) -> str:
    """Return the id of a text."""
    return blake2b(text.encode(), digest_size=ID_BYTES).hexdigest()


def record_id(prompt: str, kind: str, *answers: str) -> str:
    """Return the id of a record from the prompt's id, the kind and the answers' digests."""
    return digest("record", prompt, kind, *answers)


def letter_id(topic: str, partition: int, offset: int, replays: int) -> str:
    """Return the id of a dead letter, from the position of its original.

    Processing the same message again gives the same id.
    """
    return digest("letter", topic, partition, offset, replays)


def _blake(parts: list[Any], size: int) -> bytes:
    return blake2b(_canonical(parts), digest_size=size).digest()


def _canonical(parts: list[Any]) -> bytes:
    return orjson.dumps(parts, option=orjson.OPT_SORT_KEYS)
