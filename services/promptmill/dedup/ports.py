"""The port of de-duplication: one decision for every prompt, and one owner for every content.

A filter claims a decision before it publishes the result. The first decision about a prompt is
final, whether accepted or rejected: a message that is delivered again gets the same verdict, and
another generation of the same prompt (a *variant*) gets none, until the prompt is sent again on
purpose. A content belongs to the first record that claimed it. The owner is the id of the record,
so no record is a duplicate of itself.
"""

from __future__ import annotations

from collections.abc import AsyncIterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Protocol, Self, TypeAlias

import numpy as np
from numpy.typing import NDArray

from promptmill.dedup.near import Sketch
from promptmill.runtime.errors import Misconfigured, Unavailable

Digests: TypeAlias = NDArray[np.uint8]
"""One digest of 16 bytes in each row."""


@dataclass(frozen=True, slots=True)
class Decisions:
    """Published decisions without sketches, one row for each record or reject.

    Attributes:
        policies: the versions of policies; ``policy`` has an index into them for each row.
        records: the accepted records and their contents; ``None`` if all rows are rejects.
    """

    prompts: Digests
    decisions: Digests
    policies: tuple[str, ...]
    policy: NDArray[np.intp]
    replays: NDArray[np.int64]
    records: tuple[Digests, Digests] | None = None

    def __len__(self) -> int:
        return len(self.prompts)

    def rows(self, at: NDArray[np.intp]) -> Iterator[Claimed]:
        """Yield the rows as single decisions."""
        for number in at:
            yield Claimed(
                self.prompts[number].tobytes().hex(),
                self.decisions[number].tobytes().hex(),
                self.policies[self.policy[number]],
                self._record(number),
                int(self.replays[number]),
            )

    def __iter__(self) -> Iterator[Claimed]:
        return self.rows(np.arange(len(self), dtype=np.intp))

    def slice(self, start: int, stop: int) -> Self:
        """Return the rows from ``start`` to ``stop``."""
        span = slice(start, stop)
        records = self.records and (self.records[0][span], self.records[1][span])
        return type(self)(
            self.prompts[span],
            self.decisions[span],
            self.policies,
            self.policy[span],
            self.replays[span],
            records or None,
        )

    def _record(self, number: np.intp) -> tuple[RecordKey, ...]:
        if self.records is None:
            return ()
        record_ids, contents = self.records
        return (RecordKey(record_ids[number].tobytes().hex(), contents[number].tobytes().hex()),)


TOKEN_DIGITS = 8
"""The number of hexadecimal digits of a record id by which a verdict names the record.

Two of the n records of one message have the same digits with a probability of n²/2^33, which is
2e-9 for four answers."""

MAX_REPLAYS = 255
"""The highest number of replays that a decision distinguishes."""


class StateLost(Unavailable):
    """The claims are incomplete (emptied, restarted or failed over) and must be rebuilt."""


@dataclass(frozen=True, slots=True)
class RecordKey:
    """The id and the content key of a record, 32 hexadecimal digits each.

    Attributes:
        sketch: finds nearly equal content; without it, only equal content is found.
    """

    record_id: str
    content: str
    sketch: Sketch | None = None


@dataclass(frozen=True, slots=True)
class Claim:
    """A decision that a filter asks for.

    Attributes:
        decision_id: the digest of everything that was scored; it distinguishes a replay from a
            variant.
        policy: the version of the policy that decides.
        options: the records that the policy would accept, best first; empty for a reject.
        limit: the number of records wanted; an option whose content has an owner is skipped.
        similarity: the Jaccard similarity of sketches from which contents count as duplicates;
            ``None`` if only equal contents do.
        replays: how often the prompt has been sent again on purpose, because its decision was
            never stored. A claim with more replays than the present decision replaces that
            decision and its records; at most 255 are distinguished.
    """

    prompt_id: str
    decision_id: str
    policy: str
    options: tuple[RecordKey, ...] = ()
    limit: int = 1
    similarity: float | None = None
    replays: int = 0

    def require(self, *, sketches: bool) -> None:
        """Raise ``Misconfigured`` if the dedup store lacks the sketches that this claim needs."""
        if self.similarity is not None and not sketches:
            raise Misconfigured(
                f"a claim asks for a similarity of {self.similarity}, but this store keeps no "
                "sketches; open it with sketches=True"
            )


@dataclass(frozen=True, slots=True)
class Owner:
    """The record that owns an option's content, and the Jaccard similarity of the two."""

    record_id: str
    similarity: float = 1.0
    exact: bool = True


@dataclass(frozen=True, slots=True)
class Verdict:
    """The valid decision, made by this claim or before.

    Attributes:
        accepted: the first ``TOKEN_DIGITS`` digits of each accepted record's id; empty if the
            prompt is rejected.
        policy: the version of the policy that made the decision.
        owners: the owner of each option's content that belongs to another record.
        replayed: whether the decision had been made before.
    """

    accepted: tuple[str, ...]
    policy: str
    owners: Mapping[str, Owner] = field(default_factory=dict)
    replayed: bool = False


@dataclass(frozen=True, slots=True)
class Variant:
    """The prompt was already decided from another generation, and this one is dropped."""


@dataclass(frozen=True, slots=True)
class Claimed:
    """A published decision, read from the store or a topic; without records, a reject."""

    prompt_id: str
    decision_id: str
    policy: str
    records: tuple[RecordKey, ...] = ()
    replays: int = 0


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """The result of a rebuild.

    Attributes:
        claims: the number of published decisions and records that were loaded.
        conflicts: the number of those that should not exist: prompts that were decided twice,
            and contents in two records. They were published while the claims were lost.
    """

    claims: int
    conflicts: int


class DedupStore(Protocol):
    """A filter's access to the claims that all filters share."""

    async def start(self) -> None:
        """Connect.

        Raises:
            Misconfigured: the server may evict claims, or refuses the credentials.
            Unavailable: the server does not answer.
        """

    async def stop(self) -> None:
        """Disconnect; claims in flight fail."""

    async def is_complete(self) -> bool:
        """Return whether the claims have every published decision; if not, rebuild them."""

    async def check(self) -> None:
        """Check that the claims are still complete; called about once a second.

        Raises:
            StateLost: the claims are incomplete.
            Unavailable: the server does not answer in time, or may now evict claims.
        """

    async def claim(self, claim: Claim) -> Verdict | Variant:
        """Decide, atomically among all filters.

        Raises:
            StateLost: the claims are incomplete; nothing was decided.
            Unavailable: the server does not answer in time. It is unknown whether a decision was
                made, so claim again.
        """

    async def rebuild(
        self, published: AsyncIterable[Claimed | Decisions], expected: int = 0
    ) -> Rebuilt:
        """Load all published decisions and declare the claims complete.

        Several filters may call this at the same time: one loads, the others wait. Recent claims
        of these dedup stores, whose records may not have reached the broker yet, are loaded too.

        Args:
            expected: the approximate number of decisions.

        Raises:
            StateLost: the server was emptied, restarted or failed over in the meantime.
            Unavailable: the server does not answer in time.
        """


Decision: TypeAlias = Verdict | Variant


def claimed_of(claim: Claim, verdict: Verdict) -> Claimed | None:
    """Return the verdict in its published form; ``None`` if it names other records."""
    records = tuple(
        each for each in claim.options if each.record_id[:TOKEN_DIGITS] in verdict.accepted
    )
    if len(records) != len(verdict.accepted):
        return None
    return Claimed(claim.prompt_id, claim.decision_id, verdict.policy, records, claim.replays)
