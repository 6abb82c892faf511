"""Computing the lags of all topics from the positions of logs and groups and workers' reports.

This module is pure; the time is an argument.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from promptmill.flow.lags import TopicLag
from promptmill.flow.reports import WorkerReport, mean_sizes, mean_tokens
from promptmill.stream.ports import Partition
from promptmill_schemas.documents import FLOW
from promptmill_schemas.topics import COMPLETIONS, PROMPTS

WINDOW_S: Final = 15.0
"""The window in seconds for a rate: several flushes of the store or commits of a worker."""

MODEL_TOPICS: Final = frozenset({PROMPTS.name, COMPLETIONS.name})
"""The topics whose readers have a model, so that their lags are also counted in tokens."""

READERS: Final[dict[str, tuple[str, ...]]] = {
    topic.name: tuple(stage for stage, (receives, _) in FLOW.items() if topic in receives)
    for _, sends in FLOW.values()
    for topic in sends
}
"""The stages that read each topic, by the topic's short name."""


@dataclass(frozen=True, slots=True)
class Positions:
    """The bounds of logs and the positions of groups; partitions have short topic names.

    Attributes:
        bounds: the first offset and the one after the last, by partition.
        committed: the next offset by stage and partition, for partitions with a commit.
    """

    bounds: Mapping[Partition, tuple[int, int]]
    committed: Mapping[str, Mapping[Partition, int]]


class PositionReader(Protocol):
    """A reader of positions from Kafka."""

    async def read(self, topics: Collection[str]) -> Positions:
        """Read the positions of these topics (short names) and of all groups that read them.

        Raises:
            PromptmillError: Kafka does not answer, or has no such topic.
        """


class Measurement:
    """The computation of lags from positions, with the history for rates and means.

    Args:
        before: lags that another reader measured; their mean sizes are used until workers report
            others.
    """

    def __init__(self, before: Mapping[str, TopicLag] | None = None) -> None:
        self._sizes: dict[str, float] = {}
        self._tokens = 0.0
        self._done: defaultdict[tuple[str, str], deque[tuple[float, int]]] = defaultdict(deque)
        for lag in (before or {}).values():
            if lag.records:
                self._sizes[lag.topic] = lag.bytes / lag.records
                self._tokens = max(self._tokens, (lag.tokens or 0) / lag.records)

    def lags(
        self, positions: Positions, reports: Sequence[WorkerReport], now_s: float
    ) -> dict[str, TopicLag]:
        """Return the lag of each topic whose bounds are known, by its short name."""
        self._sizes |= mean_sizes(reports)
        self._tokens = mean_tokens(reports) or self._tokens
        done = _done_by_stage(reports)
        names = {partition.topic for partition in positions.bounds}
        return {name: self._lag(name, positions, done, now_s) for name in sorted(names)}

    def _lag(
        self,
        name: str,
        positions: Positions,
        done: Mapping[str, Mapping[Partition, int]],
        now_s: float,
    ) -> TopicLag:
        bounds = {p: at for p, at in positions.bounds.items() if p.topic == name}
        groups, rates = {}, {}
        for stage in READERS.get(name, ()):
            reached = {
                p: max(first, positions.committed.get(stage, {}).get(p, 0), done[stage].get(p, 0))
                for p, (first, _) in bounds.items()
            }
            groups[stage] = sum(max(0, end - reached[p]) for p, (_, end) in bounds.items())
            rates[stage] = self._rate(stage, name, sum(reached.values()), now_s)
        slowest = max(groups, key=lambda stage: groups[stage], default="")
        records, rate = groups.get(slowest, 0), rates.get(slowest, 0.0)
        return TopicLag(
            topic=name,
            records=records,
            bytes=int(records * self._sizes.get(name, 0.0)),
            tokens=self._tokens_of(name, records),
            seconds=round(records / rate, 1) if rate > 0 else (None if records else 0.0),
            groups=groups,
            partitions=len(bounds),
        )

    def _tokens_of(self, name: str, records: int) -> int | None:
        is_counted = name in MODEL_TOPICS and self._tokens > 0
        return int(records * self._tokens) if is_counted else None

    def _rate(self, stage: str, name: str, reached: int, now_s: float) -> float:
        """Return the messages finished per second within the window; 0 if unknown."""
        seen = self._done[stage, name]
        seen.append((now_s, reached))
        while len(seen) > 2 and seen[0][0] < now_s - WINDOW_S:
            seen.popleft()
        (since, first), (until, last) = seen[0], seen[-1]
        return max(0, last - first) / (until - since) if until > since else 0.0


def _done_by_stage(reports: Sequence[WorkerReport]) -> defaultdict[str, dict[Partition, int]]:
    done: defaultdict[str, dict[Partition, int]] = defaultdict(dict)
    for report in reports:
        own = done[report.stage]
        for partition, reached in report.done.items():
            own[partition] = max(own.get(partition, 0), reached)
    return done
