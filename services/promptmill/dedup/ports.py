"""Claims: for every prompt one decision, for every content one owner, whoever asks first.

A filter asks before it publishes. The first decision about a prompt stands, accepted or
rejected, so that a message that is delivered again gets the verdict it had, and another
generation of the same prompt (a *variant*) gets none; until the prompt is sent again on purpose.
Content belongs to the first record that claimed it; the owner is the record's own id, so no
record is its own duplicate.
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
        policies: the versions; ``policy`` holds an index into them for each row.
        records: the accepted record and its content; none: all rows are rejects.
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
        """These rows, one by one."""
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
        """Rows ``start`` to ``stop``."""
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
"""Hexadecimal digits of a record id by which a verdict names it. Among the n records that one
message can make, two share them with a chance of n²/2^33: 2e-9 for four answers."""

MAX_REPLAYS = 255
"""A decision keeps this number for all beyond."""


class StateLost(Unavailable):
    """The claims are incomplete: emptied, restarted or failed over. Rebuild before going on."""


@dataclass(frozen=True, slots=True)
class RecordKey:
    """A record by its id and by its content, 32 hexadecimal digits each.

    Attributes:
        sketch: by which nearly equal content is found; none: only equal content is.
    """

    record_id: str
    content: str
    sketch: Sketch | None = None


@dataclass(frozen=True, slots=True)
class Claim:
    """What a filter wants to decide.

    Attributes:
        decision_id: digest of all that was scored; tells a replay from a variant.
        policy: version of the policy that decides.
        options: records that the policy would let through, best first; none: a reject.
        limit: how many of them are wanted; an option whose content is taken is passed over.
        similarity: from which on content is taken by nearly equal content (Jaccard, of
            sketches); ``None``: by equal content only.
        replays: how often the prompt has been sent again on purpose, because its decision was
            never stored. More replays than those of the decision that stands replace that
            decision, and its records stand in no way; 255 at most are told apart.
    """

    prompt_id: str
    decision_id: str
    policy: str
    options: tuple[RecordKey, ...] = ()
    limit: int = 1
    similarity: float | None = None
    replays: int = 0

    def require(self, *, sketches: bool) -> None:
        """Raises ``Misconfigured`` if the gate lacks the sketches that this claim asks for."""
        if self.similarity is not None and not sketches:
            raise Misconfigured(
                f"a claim asks for a similarity of {self.similarity}, but this store keeps no "
                "sketches; open it with sketches=True"
            )


@dataclass(frozen=True, slots=True)
class Owner:
    """Whose content an option's is: equal to it, or only nearly so (Jaccard similarity)."""

    record_id: str
    similarity: float = 1.0
    exact: bool = True


@dataclass(frozen=True, slots=True)
class Verdict:
    """The decision that stands, made now or before.

    Attributes:
        accepted: the accepted records, each by the first ``TOKEN_DIGITS`` digits of its id;
            empty: the prompt is rejected.
        policy: version of the policy that made the decision.
        owners: for each option whose content is another record's: that record.
        replayed: the decision had been made before.
    """

    accepted: tuple[str, ...]
    policy: str
    owners: Mapping[str, Owner] = field(default_factory=dict)
    replayed: bool = False


@dataclass(frozen=True, slots=True)
class Variant:
    """The prompt was already decided from another generation; drop this one."""


@dataclass(frozen=True, slots=True)
class Claimed:
    """A published decision, as the store and the topics tell it; no records: a reject."""

    prompt_id: str
    decision_id: str
    policy: str
    records: tuple[RecordKey, ...] = ()
    replays: int = 0


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """What a rebuild found.

    Attributes:
        claims: published decisions and records that were loaded.
        conflicts: those among them that should not exist: a prompt that was decided twice,
            content that is in two records. They leaked while the claims were lost.
    """

    claims: int
    conflicts: int


class Gate(Protocol):
    """One filter's view of the claims that all filters share."""

    async def start(self) -> None:
        """Connect.

        Raises:
            Misconfigured: the server may evict claims, or refuses the credentials.
            Unavailable: no server answers.
        """

    async def stop(self) -> None:
        """Let go of the server; claims in flight fail."""

    async def is_complete(self) -> bool:
        """Whether the claims hold every published decision; if not: :meth:`rebuild`."""

    async def check(self) -> None:
        """Look whether the claims are still complete; to be called once a second.

        Raises:
            StateLost: they are incomplete.
            Unavailable: no answer in time, or the server may evict claims by now.
        """

    async def claim(self, claim: Claim) -> Verdict | Variant:
        """Decide, atomically among all filters.

        Raises:
            StateLost: the claims are incomplete; nothing was decided.
            Unavailable: no answer in time. Whether it was decided is unknown: ask again.
        """

    async def rebuild(
        self, published: AsyncIterable[Claimed | Decisions], expected: int = 0
    ) -> Rebuilt:
        """Load all published decisions and declare the claims complete.

        Several filters may ask for it at the same time: one loads, the others wait. Claims that
        these gates made lately, and whose records may still be on their way to the broker, are
        loaded with the rest.

        Args:
            expected: how many will be loaded, roughly.

        Raises:
            StateLost: the server was emptied, restarted or failed over meanwhile.
            Unavailable: no answer in time.
        """


Decision: TypeAlias = Verdict | Variant


def claimed_of(claim: Claim, verdict: Verdict) -> Claimed | None:
    """What the verdict will be once it is published; ``None`` if it names other records."""
    records = tuple(
        each for each in claim.options if each.record_id[:TOKEN_DIGITS] in verdict.accepted
    )
    if len(records) != len(verdict.accepted):
        return None
    return Claimed(claim.prompt_id, claim.decision_id, verdict.policy, records, claim.replays)
