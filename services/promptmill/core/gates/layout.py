"""How claims lie in Redis: small hashes of fixed-width binary entries.

A hash that stays below Redis's ``hash-max-listpack-entries`` (512) is one block of memory in
which an entry costs its own bytes and four more; a key of its own would cost a hundred. So
entries are spread over ``2**bits`` hashes by the first bits of their id, which is a digest::

    {namespace}:state          epoch, server, bits, one field for each policy and loader …
    {namespace}:d:<bucket>     prompt (10 bytes) → decision (8) policy (4) replays (1) record (4) …
    {namespace}:c:<bucket>     content (10 bytes) → record id (16)
    {namespace}:b:<bucket>     band (5 bytes) → half a record id (8), of six records at most
    {namespace}:s:<bucket>     half a record id (6 bytes) → the other half (8) signature (56)

Ten bytes beside 16 bucket bits tell 2^96 ids apart: among 10^9 the chance that any two are
taken for each other is 6e-12. Every key carries the same hash tag.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b
from typing import Final

from promptmill.core.errors import Misconfigured
from promptmill.core.gates.base import TOKEN_DIGITS
from promptmill.core.gates.sketch import BANDS

FIELD: Final = slice(2, 12)
BAND_FIELD: Final = slice(2, 7)
SIGNATURE_FIELD: Final = slice(2, 8)
DECISION_BYTES: Final = 8
POLICY_BYTES: Final = 4
RECORD_BYTES: Final = 16
TOKEN_BYTES: Final = TOKEN_DIGITS // 2

ENTRIES_PER_BUCKET: Final = 80
"""Aimed at for the expected number of records: three times as many stay below 256 in a bucket, six
times below the 512 where a listpack ends and an entry costs twice as much."""

_NAMESPACE: Final = re.compile(r"[A-Za-z0-9._-]{1,128}")
MIN_BITS, MAX_BITS = 8, 24

BAND_BITS: Final = BANDS.bit_length()
"""More bits for bands: twice as many buckets as there are bands, for they are asked often."""


def bits_for(expected_records: int) -> int:
    """Bucket bits that suit so many records; far more than expected only cost more memory."""
    buckets = max(1, expected_records // ENTRIES_PER_BUCKET)
    return min(max(buckets.bit_length(), MIN_BITS), MAX_BITS)


@dataclass(frozen=True, slots=True)
class Layout:
    """Names of keys and fields for one namespace and number of buckets."""

    namespace: str
    bits: int

    @property
    def decision_table(self) -> bytes:
        """What names the buckets of decisions, between the namespace and the bucket."""
        return b"d"

    @property
    def content_table(self) -> bytes:
        """What names the buckets of contents."""
        return b"c"

    def decision(self, prompt_id: str) -> tuple[bytes, bytes]:
        """Key and field of a prompt's decision."""
        return self._place("d", prompt_id)

    def content(self, content: str) -> tuple[bytes, bytes]:
        """Key and field of a content's owner."""
        return self._place("c", content)

    def band(self, band: bytes) -> tuple[bytes, bytes]:
        """Key and field of a band of a sketch."""
        return self._bucket("b", band, self.bits + BAND_BITS), band[BAND_FIELD]

    def signature(self, record_id: bytes) -> tuple[bytes, bytes]:
        """Key and field of a record's signature."""
        return self._bucket("s", record_id, self.bits), record_id[SIGNATURE_FIELD]

    def _place(self, table: str, digest: str) -> tuple[bytes, bytes]:
        raw = bytes.fromhex(digest)
        return self._bucket(table, raw, self.bits), raw[FIELD]

    def _bucket(self, table: str, raw: bytes, bits: int) -> bytes:
        bucket = int.from_bytes(raw[:4], "big") >> (32 - bits)
        return f"{{{self.namespace}}}:{table}:{bucket:x}".encode()


def state_key(namespace: str) -> bytes:
    """Key of the hash that says whether the claims are complete.

    Raises:
        Misconfigured: braces or control characters, which would break the hash tag.
    """
    if not _NAMESPACE.fullmatch(namespace):
        raise Misconfigured(
            f"namespace is {namespace!r}: letters, digits, '.', '_' and '-' are allowed, "
            "1 to 128 of them; rename it"
        )
    return f"{{{namespace}}}:state".encode()


@lru_cache(maxsize=64)
def policy_digest(version: str) -> bytes:
    """The four bytes by which a decision names its policy."""
    return blake2b(version.encode(), digest_size=POLICY_BYTES).digest()


def policy_field(digest: bytes) -> bytes:
    """Field of the state in which the full version stands."""
    return b"policy:" + digest.hex().encode()
