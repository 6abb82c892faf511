"""In-memory claims for tests, which decide as the claims in Redis do."""

from __future__ import annotations

import asyncio
from collections import defaultdict, deque
from collections.abc import AsyncIterable, Iterator
from dataclasses import dataclass, field, replace

from promptmill.dedup.near import (
    BAND_BYTES,
    BANDS,
    EXEMPT,
    Sketch,
    agreement,
    least_agreement,
    similarity,
)
from promptmill.dedup.ports import (
    MAX_REPLAYS,
    TOKEN_DIGITS,
    Claim,
    Claimed,
    Decision,
    Decisions,
    Owner,
    Rebuilt,
    RecordKey,
    StateLost,
    Variant,
    Verdict,
    claimed_of,
)


@dataclass(frozen=True, slots=True)
class _Made:
    decision_id: str
    policy: str
    accepted: tuple[str, ...] = ()
    replays: int = 0
    earlier: tuple[str, ...] = ()
    """The tokens of the records of decisions that this one replaced."""

    def replaced_by(self, new: _Made) -> _Made:
        """Return the new decision, with the records of this one among the replaced."""
        return replace(new, earlier=self.accepted + self.earlier)


class _Index:
    """An index of records by the bands of their sketches."""

    def __init__(self) -> None:
        self._sketches: dict[str, Sketch] = {}
        self._bands: defaultdict[tuple[int, bytes], list[str]] = defaultdict(list)
        self.without_sketch = 0

    def add(self, record: RecordKey) -> None:
        if record.sketch is None:
            self.without_sketch += 1
        elif record.sketch != EXEMPT and record.record_id not in self._sketches:
            self._sketches[record.record_id] = record.sketch
            for band in _bands(record.sketch):
                self._bands[band].append(record.record_id)

    def nearest(self, sketch: Sketch, least: float, earlier: tuple[str, ...]) -> Owner | None:
        ids = dict.fromkeys(each for band in _bands(sketch) for each in self._bands[band])
        found = [
            (agreement(sketch.signature, self._sketches[each].signature), each)
            for each in ids
            if each[:TOKEN_DIGITS] not in earlier
        ]
        agreed, record_id = max(found, key=lambda pair: pair[0], default=(0, ""))
        if agreed < least_agreement(least):
            return None
        return Owner(record_id, similarity(agreed), exact=False)


def _bands(sketch: Sketch) -> Iterator[tuple[int, bytes]]:
    for number in range(BANDS):
        yield number, sketch.bands[number * BAND_BYTES : (number + 1) * BAND_BYTES]


@dataclass(slots=True)
class MemoryClaims:
    """The claims that several dedup stores share.

    Attributes:
        loaders: dedup stores that are rebuilding, with the number of records without a sketch that
            there were when they began.
        sketched: that number when sketches were last complete.
    """

    epoch: int | None = None
    epochs: int = 0
    decisions: dict[str, _Made] = field(default_factory=dict)
    owners: dict[str, str] = field(default_factory=dict)
    index: _Index = field(default_factory=_Index)
    loaders: dict[int, int] = field(default_factory=dict)
    sketched: int | None = None

    def is_complete(self, *, sketches: bool = False) -> bool:
        """Return whether the claims are complete, including sketches if those are needed."""
        if sketches and self.sketched != self.index.without_sketch:
            return False
        return self.epoch is not None

    def empty(self) -> None:
        """Forget everything, like a server after ``FLUSHALL``."""
        self.epoch = None
        self.sketched = None
        self.decisions.clear()
        self.owners.clear()
        self.index = _Index()
        self.loaders.clear()

    def finish(self, loader: int, *, sketches: bool) -> None:
        """Declare the claims complete."""
        since = self.loaders.pop(loader, None)
        if self.epoch is None:
            self.epochs += 1
            self.epoch = self.epochs
        if sketches and since == self.index.without_sketch:
            self.sketched = since

    def decide(self, claim: Claim) -> Decision:
        """Return the valid decision, and decide now if there is none."""
        made, replays = self.decisions.get(claim.prompt_id), min(claim.replays, MAX_REPLAYS)
        new = _Made(claim.decision_id, claim.policy, replays=replays)
        if made is not None and made.decision_id != claim.decision_id:
            if replays <= made.replays:
                return Variant()
            new, made = made.replaced_by(new), None
        standing = made or new
        may_add = made is None or (bool(made.accepted) and made.policy == claim.policy)
        accepted, owners = list(standing.accepted), {}
        for option in claim.options:
            token = option.record_id[:TOKEN_DIGITS]
            if token in accepted:
                continue
            room = may_add and len(accepted) < claim.limit
            least = claim.similarity if room or not accepted else None
            if owner := self._owner(option, least, standing.earlier):
                owners[option.record_id] = owner
            elif room:
                accepted.append(token)
                self.owners[option.content] = option.record_id
                self.index.add(option)
        self.decisions[claim.prompt_id] = replace(
            standing, accepted=tuple(accepted), replays=max(standing.replays, replays)
        )
        return Verdict(tuple(accepted), standing.policy, owners, replayed=made is not None)

    def load(self, claimed: Claimed) -> int:
        """Add a published decision, and return the number of contradictions that it caused."""
        tokens = tuple(record.record_id[:TOKEN_DIGITS] for record in claimed.records)
        replays = min(claimed.replays, MAX_REPLAYS)
        new = _Made(claimed.decision_id, claimed.policy, tokens, replays)
        made = self.decisions.get(claimed.prompt_id)
        now, conflicts = (new, 0) if made is None else _merged(made, new)
        self.decisions[claimed.prompt_id] = now
        return conflicts + sum(self._owned_by_another(r, now.earlier) for r in claimed.records)

    def _owned_by_another(self, record: RecordKey, earlier: tuple[str, ...]) -> bool:
        self.index.add(record)
        owner = self.owners.setdefault(record.content, record.record_id)
        if owner[:TOKEN_DIGITS] in earlier:
            self.owners[record.content] = owner = record.record_id
        return owner != record.record_id

    def _owner(
        self, option: RecordKey, least: float | None, earlier: tuple[str, ...]
    ) -> Owner | None:
        owner = self.owners.get(option.content)
        if owner is not None and owner[:TOKEN_DIGITS] not in earlier:
            return None if owner == option.record_id else Owner(owner)
        if least is None or option.sketch is None or option.sketch == EXEMPT:
            return None
        return self.index.nearest(option.sketch, least, earlier)


def _merged(made: _Made, new: _Made) -> tuple[_Made, int]:
    """Return the valid one of two decisions about a prompt, and the number of contradictions."""
    if made.decision_id != new.decision_id:
        if new.replays > made.replays:
            return made.replaced_by(new), 0
        return made, int(new.replays == made.replays)
    if bool(made.accepted) != bool(new.accepted):
        return made, 1
    accepted = tuple(dict.fromkeys((*made.accepted, *new.accepted)))
    return replace(made, accepted=accepted, replays=max(made.replays, new.replays)), 0


class MemoryDedupStore:
    """One filter's access to the shared claims.

    Attributes:
        conflicts: decisions and contents that this dedup store found twice when it loaded them.
    """

    def __init__(
        self, claims: MemoryClaims, *, sketches: bool = False, settle_s: float = 0.0
    ) -> None:
        self.conflicts = 0
        self._claims = claims
        self._sketches = sketches
        self._settle_s = settle_s
        self._epoch: int | None = None
        self._recent: deque[Claimed] = deque(maxlen=16_384)

    async def start(self) -> None:
        """Do nothing, because there is no connection."""

    async def stop(self) -> None:
        """Do nothing, because there is no connection."""

    async def is_complete(self) -> bool:
        """Return whether the claims hold every published decision."""
        return self._claims.is_complete(sketches=self._sketches)

    async def check(self) -> None:
        """Check whether the claims are still complete."""
        self._adopt()

    async def claim(self, claim: Claim) -> Decision:
        """Decide atomically with respect to all dedup stores of these claims."""
        claim.require(sketches=self._sketches)
        await asyncio.sleep(0)
        self._adopt()
        decision = self._claims.decide(claim)
        if isinstance(decision, Verdict) and (made := claimed_of(claim, decision)):
            self._recent.append(made)
        return decision

    async def rebuild(
        self,
        published: AsyncIterable[Claimed | Decisions],
        expected: int = 0,  # noqa: ARG002 - no layout
    ) -> Rebuilt:
        """Load all published decisions and declare the claims complete."""
        count, before = 0, self.conflicts
        if not await self.is_complete():
            self._claims.loaders[id(self)] = self._claims.index.without_sketch
            self._load_recent()
            await asyncio.sleep(self._settle_s)
            async for item in published:
                self._check_loading()
                block = (item,) if isinstance(item, Claimed) else item
                self.conflicts += sum(map(self._claims.load, block))
                count += len(block)
                if await self.is_complete():
                    break
            self._check_loading()
            self._claims.finish(id(self), sketches=self._sketches)
        self._adopt()
        return Rebuilt(count, self.conflicts - before)

    def _adopt(self) -> None:
        if not self._claims.is_complete(sketches=self._sketches):
            raise StateLost("the claims are incomplete; rebuild them from the store")
        if self._epoch != self._claims.epoch:
            self._epoch = self._claims.epoch
            self._load_recent()

    def _check_loading(self) -> None:
        if not self._claims.is_complete() and id(self) not in self._claims.loaders:
            raise StateLost("the claims were lost again during the rebuild")

    def _load_recent(self) -> None:
        self.conflicts += sum(self._claims.load(claimed) for claimed in self._recent)
