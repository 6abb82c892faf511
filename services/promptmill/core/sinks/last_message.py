"""The identity of the last message that a table has taken from a partition, as one number.

An offset alone does not say of which log it is an offset: a topic that was deleted, created
again and filled beyond the stored offset would be read on from there, and what came before
would never be read. So a table keeps, with each next offset, 63 bits: the low 16 bits of that
offset and 47 bits of a digest of the message before it. A commit of a version of promptmill
that does not know the number leaves it behind, which the 16 bits show; then nothing is compared.
"""

from __future__ import annotations

from hashlib import blake2b

from promptmill.core.errors import Misconfigured
from promptmill.core.stream.ports import Delivery

OFFSET_BITS = 16
DIGEST_BITS = 47
_OFFSET_MASK = (1 << OFFSET_BITS) - 1


def identify(delivery: Delivery) -> int:
    """The number for this message, as the last one before the next offset."""
    digest = blake2b(digest_size=8)
    digest.update(delivery.timestamp_ms.to_bytes(8, "big", signed=True))
    for part in (delivery.key, delivery.value):
        digest.update((-1 if part is None else len(part)).to_bytes(8, "big", signed=True))
        digest.update(part or b"")
    bits = int.from_bytes(digest.digest(), "big") >> (64 - DIGEST_BITS)
    return bits << OFFSET_BITS | (delivery.offset + 1) & _OFFSET_MASK


def is_of(last: int | None, next_offset: int | None) -> bool:
    """Whether the number was stored together with this next offset."""
    return (
        last is not None
        and next_offset is not None
        and last & _OFFSET_MASK == (next_offset & _OFFSET_MASK)
    )


def check_last(table_uri: str, delivery: Delivery | None, shard: int, at: int, last: int) -> None:
    """Compare the message that the log holds with the one that was taken from there.

    Args:
        delivery: what the log holds at offset ``at``; ``None`` when it holds nothing there.

    Raises:
        Misconfigured: they differ: the topic was deleted and created again, or truncated.
    """
    if delivery is not None and identify(delivery) == last:
        return
    found = "no message" if delivery is None else "another message"
    raise Misconfigured(
        f"{table_uri}: partition {shard} was stored up to offset {at}, and the log now holds "
        f"{found} there than the one that was stored: the topic was deleted and recreated, or "
        "truncated and refilled, and reading on would skip the messages before it. Set "
        "PROMPTMILL_STORE to a new folder to store the present topic from its beginning, or "
        "restore the topic"
    )
