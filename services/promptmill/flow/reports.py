"""The reports that workers send to the lag reader once a second.

Kafka knows the committed offsets of groups. Only the worker knows which records it has finished
beyond them, the size of its messages, and the number of tokens per prompt.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import orjson

from promptmill.stream.ports import Partition

REPORT_STANDS_S: Final = 5.0
"""Seconds, by Redis' clock, after which a worker without a new report counts as ended."""

FORGETTING: Final = 0.9
"""The factor by which earlier values fade each time that a new one is added to a mean."""


@dataclass(frozen=True, slots=True)
class Share:
    """A sum over messages and their number; both fade, so that the mean follows recent values."""

    total: float = 0.0
    records: float = 0.0

    def add(self, total: float, records: float) -> Share:
        """Return the share with new messages added; without new messages it does not change."""
        if records <= 0:
            return self
        return Share(FORGETTING * self.total + total, FORGETTING * self.records + records)

    @property
    def mean(self) -> float:
        """The mean per message; 0 if unknown."""
        return self.total / self.records if self.records else 0.0


@dataclass(frozen=True, slots=True)
class WorkerReport:
    """The report of one worker.

    Attributes:
        stage: ``instruct``, ``reward``, ``filter`` or ``store``.
        sizes: bytes of recent messages, by short name of the topic.
        tokens: tokens that the model has read and written for recent prompts.
        done: number of offsets done, by partition with the topic's short name: those of the
            finished prefix and those beyond it. They are counted from the beginning of the log, so
            that they can be compared with a commit at any time.
    """

    stage: str
    sizes: Mapping[str, Share] = field(default_factory=dict)
    tokens: Share = Share()
    done: Mapping[Partition, int] = field(default_factory=dict)


def encode_report(report: WorkerReport) -> bytes:
    """Encode a report for Redis."""
    return orjson.dumps(
        {
            "stage": report.stage,
            "sizes": {topic: [s.total, s.records] for topic, s in report.sizes.items()},
            "tokens": [report.tokens.total, report.tokens.records],
            "done": [[p.topic, p.number, done] for p, done in report.done.items()],
        }
    )


def decode_report(payload: bytes) -> WorkerReport:
    """Decode a report that :func:`encode_report` encoded.

    Raises:
        ValueError: the payload is something else.
    """
    try:
        given: dict[str, Any] = orjson.loads(payload)
        return WorkerReport(
            stage=str(given["stage"]),
            sizes={str(topic): Share(*pair) for topic, pair in given["sizes"].items()},
            tokens=Share(*given["tokens"]),
            done={Partition(topic, int(n)): int(done) for topic, n, done in given["done"]},
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"this is no report of a worker: {payload[:100]!r}") from error


def mean_sizes(reports: Iterable[WorkerReport]) -> dict[str, float]:
    """Return the mean bytes of a message by topic, over all workers with messages."""
    sums: dict[str, Share] = {}
    for report in reports:
        for topic, share in report.sizes.items():
            known = sums.get(topic, Share())
            sums[topic] = Share(known.total + share.total, known.records + share.records)
    return {topic: share.mean for topic, share in sums.items() if share.records}


def mean_tokens(reports: Iterable[WorkerReport]) -> float:
    """Return the mean tokens of a prompt with its answers; 0 if no worker has counted any."""
    shares = [report.tokens for report in reports]
    return Share(sum(s.total for s in shares), sum(s.records for s in shares)).mean
