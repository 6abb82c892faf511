"""The filter's work: a scored completion becomes training records or one reject."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol

from promptmill.dedup.ports import Claim, Decision, Variant
from promptmill.filter.case import Case
from promptmill.filter.policy import Policy
from promptmill.filter.results import records_of, reject_of
from promptmill.runtime.fault_points import fault_point
from promptmill.stream.outcome import Drop, Emit, Outcome, Outgoing
from promptmill_schemas import Scored
from promptmill_schemas.topics import RECORDS, REJECTS


class Claims(Protocol):
    """The part of a dedup store that decisions need."""

    async def claim(self, claim: Claim) -> Decision:
        """Decide, atomically among all filters; see ``promptmill.dedup.ports.DedupStore``."""


def utc_now() -> datetime:
    """The time, in UTC."""
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class Filter:
    """Applies the limits, then claims the decision, and publishes what the verdict says.

    A message that is delivered again after a crash between claim and publication therefore leads
    to the same records or the same reject.
    """

    policy: Policy
    claims: Claims
    clock: Callable[[], datetime] = utc_now

    async def __call__(self, scored: Scored) -> Outcome:
        """Return at least one record or exactly one reject, or nothing for a variant.

        Raises:
            Unavailable: the claims cannot answer now, or are incomplete.
            Poison: the claims name a record that this message cannot make.
        """
        case = Case.of(scored, self.policy)
        verdict = await self.claims.claim(case.claim())
        fault_point("filter.claimed")
        if isinstance(verdict, Variant):
            return Drop("variant")
        if verdict.accepted:
            records = records_of(case, verdict, self.clock())
            return Emit(tuple(Outgoing(RECORDS, record) for record in records))
        return Emit((Outgoing(REJECTS, reject_of(case, verdict, self.clock())),))
