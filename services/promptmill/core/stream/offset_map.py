"""The map of what is done beyond a partition's committed offset, as commit metadata.

Form: ``pm1.<crc32, 8 hex digits>.<base85 of zlib of the bitmap>``. Bit ``i`` (least
significant first) stands for offset ``base + i``, where ``base`` is the committed offset
itself; the checksum covers partition, base and payload, so that a map that was written for
another partition or another commit is ignored. Without a map nothing is lost: what it would
have spared is done again.
"""

from __future__ import annotations

import zlib
from base64 import b85decode, b85encode
from binascii import crc32
from collections.abc import Iterable

MAX_CHARACTERS = 3_500
"""The broker takes 4,096; the rest is room for what else may want to stand there."""

MAX_SPAN = 16_384
"""Offsets that one map can cover: 2,048 bytes, 2,600 characters even when incompressible."""

_VERSION = "pm1"
_NO_OFFSETS: frozenset[int] = frozenset()


def encode_map(partition: str, base: int, done: Iterable[int]) -> str:
    """The metadata for a commit of ``base``; ``""`` when nothing beyond it is done.

    Args:
        partition: ``topic-number``.
        base: the offset that is committed with it.
        done: finished offsets, all above ``base``; those out of span are left out, which is
            safe: they are done again after a restart.
    """
    bitmap = _to_bitmap(base, done)
    if not bitmap:
        return ""
    payload = b85encode(zlib.compress(bitmap, 6)).decode()
    text = f"{_VERSION}.{_checksum(partition, base, payload)}.{payload}"
    return text if len(text) <= MAX_CHARACTERS else ""


def decode_map(partition: str, base: int, metadata: str | None) -> frozenset[int]:
    """The finished offsets beyond ``base``; none when anything about the map does not match."""
    version, _, rest = (metadata or "").partition(".")
    checksum, _, payload = rest.partition(".")
    if version != _VERSION or checksum != _checksum(partition, base, payload):
        return _NO_OFFSETS
    try:
        bitmap = zlib.decompress(b85decode(payload))
    except (ValueError, zlib.error):
        return _NO_OFFSETS
    return frozenset(_from_bitmap(base, bitmap))


def _to_bitmap(base: int, done: Iterable[int]) -> bytes:
    bitmap = bytearray(MAX_SPAN // 8)
    for offset in done:
        index = offset - base
        if 0 <= index < MAX_SPAN:
            bitmap[index >> 3] |= 1 << (index & 7)
    return bytes(bitmap.rstrip(b"\0"))


def _from_bitmap(base: int, bitmap: bytes) -> Iterable[int]:
    for index, byte in enumerate(bitmap[: MAX_SPAN // 8]):
        for bit in range(8):
            if byte >> bit & 1:
                yield base + index * 8 + bit


def _checksum(partition: str, base: int, payload: str) -> str:
    covered = f"{partition} {base} {payload}"
    return f"{crc32(covered.encode()):08x}"
