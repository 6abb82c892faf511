"""The binary formats of the scripts' arguments and replies.

A whole batch is one binary argument, because sending a hundred small arguments would cost more than
the decisions themselves.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from promptmill.dedup.layout import (
    DECISION_BYTES,
    POLICY_BYTES,
    RECORD_BYTES,
    TOKEN_BYTES,
    KeyLayout,
    policy_digest,
)
from promptmill.dedup.near import BAND_BYTES, EXEMPT, Sketch, least_agreement, similarity
from promptmill.dedup.ports import MAX_REPLAYS, Claim, Claimed, Owner, RecordKey

_POLICY = slice(1, 1 + POLICY_BYTES)
_COUNT = _POLICY.stop
_OWNER_BYTES = 1 + RECORD_BYTES + 1
_EXACT = 255
_UNSKETCHED, _SKETCHED, _EXEMPT = 0, 1, 2


@dataclass(frozen=True, slots=True)
class Packed:
    """A batch for a script: its keys in the order in which they are used, and its data."""

    keys: list[bytes]
    data: bytes


@dataclass(frozen=True, slots=True)
class Reply:
    """The claim script's reply to one claim.

    Attributes:
        policy: the digest of the policy that decided.
        accepted: the tokens of the accepted records.
        owners: the owners of content that another record has, by the number of the option.
    """

    replayed: bool
    policy: bytes
    accepted: tuple[str, ...]
    owners: dict[int, Owner]


class _Packer:
    """Appends keys and data in the order in which a script reads them."""

    def __init__(self, layout: KeyLayout) -> None:
        self._layout = layout
        self._keys: list[bytes] = []
        self._data: list[bytes] = []

    @property
    def packed(self) -> Packed:
        return Packed(self._keys, b"".join(self._data))

    def head(self, item: Claim | Claimed) -> None:
        decision = bytes.fromhex(item.decision_id)[:DECISION_BYTES]
        self._place(self._layout.decision(item.prompt_id))
        self._data += (decision, policy_digest(item.policy))
        self.number(min(item.replays, MAX_REPLAYS))

    def number(self, number: int) -> None:
        self._data.append(bytes((number,)))

    def records(self, records: tuple[RecordKey, ...]) -> None:
        self.number(len(records))
        for record in records:
            raw = bytes.fromhex(record.record_id)
            self._place(self._layout.content(record.content))
            self._data.append(raw)
            if record.sketch is None:
                self.number(_UNSKETCHED)
            elif record.sketch == EXEMPT:
                self.number(_EXEMPT)
            else:
                self.number(_SKETCHED)
                self._sketch(raw, record.sketch)

    def _sketch(self, record: bytes, sketch: Sketch) -> None:
        for at in range(0, len(sketch.bands), BAND_BYTES):
            self._place(self._layout.band(sketch.bands[at : at + BAND_BYTES]))
        self._keys.append(self._layout.signature(record)[0])
        self._data.append(sketch.signature)

    def _place(self, place: tuple[bytes, bytes]) -> None:
        self._keys.append(place[0])
        self._data.append(place[1])


def pack_claims(layout: KeyLayout, claims: Iterable[Claim]) -> Packed:
    """Pack a batch for ``claim.lua``."""
    packer = _Packer(layout)
    for claim in claims:
        packer.head(claim)
        packer.number(claim.limit)
        packer.number(0 if claim.similarity is None else least_agreement(claim.similarity))
        packer.records(claim.options)
    return packer.packed


def pack_claimed(layout: KeyLayout, published: Iterable[Claimed]) -> Packed:
    """Pack a batch for ``load.lua``."""
    packer = _Packer(layout)
    for claimed in published:
        packer.head(claimed)
        packer.records(claimed.records)
    return packer.packed


def unpack(reply: bytes) -> Reply | None:
    """Parse the script's reply to one claim; ``None`` stands for a variant."""
    if reply == b"V":
        return None
    end = _COUNT + 1 + reply[_COUNT] * TOKEN_BYTES
    owners = (reply[at : at + _OWNER_BYTES] for at in range(end, len(reply), _OWNER_BYTES))
    return Reply(
        replayed=reply.startswith(b"S"),
        policy=reply[_POLICY],
        accepted=tuple(
            reply[at : at + TOKEN_BYTES].hex() for at in range(_COUNT + 1, end, TOKEN_BYTES)
        ),
        owners={owner[0]: _owner(owner[1:-1].hex(), owner[-1]) for owner in owners},
    )


def _owner(record_id: str, agreed: int) -> Owner:
    if agreed == _EXACT:
        return Owner(record_id)
    return Owner(record_id, similarity(agreed), exact=False)
