"""The layout of claims in Redis: small hashes with entries of fixed width.

A hash with fewer entries than ``hash-max-listpack-entries`` (512) is one block of memory, in which
an entry takes four bytes more than its own; a separate key would take a hundred. Entries are
therefore spread over ``2**bits`` hashes by the first bits of their id, which is a digest::

    {namespace}:state              epoch, server, generation, bits, a field for each loader …
    {namespace}:<gen>:d:<bucket>   prompt (10 bytes) → decision (8) policy (4) replays (1) records
    {namespace}:<gen>:c:<bucket>   content (10 bytes) → record id (16)
    {namespace}:<gen>:b:<bucket>   band (5 bytes) → half a record id (8), of six records at most
    {namespace}:<gen>:s:<bucket>   half a record id (6 bytes) → the other half (8) signature (56)

Each rebuild fills a new generation, whose number of buckets suits the number of decisions; the
buckets of other generations are unlinked. The first version had no generations.

Ten bytes and 16 bucket bits distinguish 2^96 ids: the probability that any two of 10^9 are confused
is 6e-12. All keys have the same hash tag.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b
from typing import Final

from promptmill.dedup.near import BANDS
from promptmill.dedup.ports import TOKEN_DIGITS
from promptmill.runtime.errors import Misconfigured

FIELD: Final = slice(2, 12)
BAND_FIELD: Final = slice(2, 7)
SIGNATURE_FIELD: Final = slice(2, 8)
DECISION_BYTES: Final = 8
POLICY_BYTES: Final = 4
RECORD_BYTES: Final = 16
TOKEN_BYTES: Final = TOKEN_DIGITS // 2

ENTRIES_PER_BUCKET: Final = 80
"""The intended number of entries in a bucket, by which a layout is chosen."""

WIDEST: Final = 256
"""The mean number of entries in a bucket at which the claims are rebuilt into more buckets.

From 512 entries on, Redis stores a bucket as a hash table, which doubles the memory per entry."""

_NAMESPACE: Final = re.compile(r"[A-Za-z0-9._-]{1,128}")
MIN_BITS, MAX_BITS = 8, 24

BAND_BITS: Final = BANDS.bit_length()
"""The additional bits for bands: more buckets than bands, because they are read often."""

_SAMPLES: Final = 16


def bits_for(expected_records: int) -> int:
    """Return the number of bucket bits that suits this number of records."""
    buckets = max(1, expected_records // ENTRIES_PER_BUCKET)
    return min(max(buckets.bit_length(), MIN_BITS), MAX_BITS)


@dataclass(frozen=True, slots=True)
class KeyLayout:
    """The names of keys and fields in one generation of a namespace's buckets.

    Attributes:
        generation: the id of the loader that filled it; empty for the first version's buckets.
    """

    namespace: str
    bits: int
    generation: str

    @property
    def capacity(self) -> int:
        """The number of records at which a bucket has the intended number of entries."""
        return ENTRIES_PER_BUCKET << self.bits

    def samples(self) -> list[bytes]:
        """Return some buckets of decisions, as samples of all."""
        step = 2**self.bits // _SAMPLES
        return [self._name("d", number * step) for number in range(_SAMPLES)]

    def all_keys(self, *, sketches: bool) -> Iterator[bytes]:
        """Yield the keys of all buckets that may exist."""
        tables = {"d": self.bits, "c": self.bits}
        if sketches:
            tables |= {"s": self.bits, "b": self.bits + BAND_BITS}
        for table, bits in tables.items():
            yield from (self._name(table, number) for number in range(2**bits))

    def prefix(self, table: str) -> bytes:
        """Return the beginning of a table's bucket names; eight hexadecimal digits follow."""
        return f"{{{self.namespace}}}:{self.generation}:{table}:".encode()

    def decision(self, prompt_id: str) -> tuple[bytes, bytes]:
        """Return the key and the field of a prompt's decision."""
        return self._place("d", prompt_id)

    def content(self, content: str) -> tuple[bytes, bytes]:
        """Return the key and the field of a content's owner."""
        return self._place("c", content)

    def band(self, band: bytes) -> tuple[bytes, bytes]:
        """Return the key and the field of a sketch's band."""
        return self._bucket("b", band, self.bits + BAND_BITS), band[BAND_FIELD]

    def signature(self, record_id: bytes) -> tuple[bytes, bytes]:
        """Return the key and the field of a record's signature."""
        return self._bucket("s", record_id, self.bits), record_id[SIGNATURE_FIELD]

    def _place(self, table: str, digest: str) -> tuple[bytes, bytes]:
        raw = bytes.fromhex(digest)
        return self._bucket(table, raw, self.bits), raw[FIELD]

    def _bucket(self, table: str, raw: bytes, bits: int) -> bytes:
        return self._name(table, int.from_bytes(raw[:4], "big") >> (32 - bits))

    def _name(self, table: str, bucket: int) -> bytes:
        if not self.generation:
            return f"{{{self.namespace}}}:{table}:{bucket:x}".encode()
        return self.prefix(table) + b"%08x" % bucket


def state_key(namespace: str) -> bytes:
    """Return the key of the hash with the state of the claims.

    Raises:
        Misconfigured: the namespace has characters that would break the hash tag.
    """
    if not _NAMESPACE.fullmatch(namespace):
        raise Misconfigured(
            f"namespace is {namespace!r}: it must have 1 to 128 letters, digits, '.', '_' or '-'; "
            "rename it"
        )
    return f"{{{namespace}}}:state".encode()


@lru_cache(maxsize=64)
def policy_digest(version: str) -> bytes:
    """Return the four bytes by which a decision names its policy."""
    return blake2b(version.encode(), digest_size=POLICY_BYTES).digest()


def policy_field(digest: bytes) -> bytes:
    """Return the field of the state that holds the policy's full version."""
    return b"policy:" + digest.hex().encode()
