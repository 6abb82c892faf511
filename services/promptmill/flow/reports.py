"""What each worker tells the reader of lags about itself, once a second.

Kafka knows where groups have committed. Only the worker knows what it has finished beyond that,
how large its messages are, and how many tokens a prompt costs.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import orjson

from promptmill.stream.ports import Partition

REPORT_STANDS_S: Final = 5.0
"""A worker that has said nothing for so long is gone, by Redis' clock."""

FORGETTING: Final = 0.9
"""Weight of what was known before, each time that something new is added to a mean."""


@dataclass(frozen=True, slots=True)
class Share:
    """A sum, and of how many messages; both fade, so that the mean follows what is recent."""

    total: float = 0.0
    records: float = 0.0

    def add(self, total: float, records: float) -> Share:
        """With so much more; a report without news changes nothing."""
        if records <= 0:
            return self
        return Share(FORGETTING * self.total + total, FORGETTING * self.records + records)

    @property
    def mean(self) -> float:
        """For one message; 0 where nothing is known."""
        return self.total / self.records if self.records else 0.0


@dataclass(frozen=True, slots=True)
class WorkerReport:
    """One worker.

    Attributes:
        stage: ``instruct``, ``reward``, ``filter`` or ``store``.
        sizes: bytes of recent messages, by short name of the topic.
        tokens: of recent prompts, in and out of the model.
        done: offsets done by partition of a topic's short name: the finished prefix, and as many
            as lie beyond it. It counts from the log's beginning, so that it is right whenever it
            is compared with a commit.
    """

    stage: str
    sizes: Mapping[str, Share] = field(default_factory=dict)
    tokens: Share = Share()
    done: Mapping[Partition, int] = field(default_factory=dict)


def encode_report(report: WorkerReport) -> bytes:
    """The report as it stands in Redis."""
    return orjson.dumps(
        {
            "stage": report.stage,
            "sizes": {topic: [s.total, s.records] for topic, s in report.sizes.items()},
            "tokens": [report.tokens.total, report.tokens.records],
            "done": [[p.topic, p.number, done] for p, done in report.done.items()],
        }
    )


def decode_report(payload: bytes) -> WorkerReport:
    """The report that :func:`encode_report` wrote.

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
    """Bytes of a message by topic, over all workers that have written or read some."""
    sums: dict[str, Share] = {}
    for report in reports:
        for topic, share in report.sizes.items():
            known = sums.get(topic, Share())
            sums[topic] = Share(known.total + share.total, known.records + share.records)
    return {topic: share.mean for topic, share in sums.items() if share.records}


def mean_tokens(reports: Iterable[WorkerReport]) -> float:
    """Tokens of a prompt and its answers; 0 where no worker has counted any."""
    shares = [report.tokens for report in reports]
    return Share(sum(s.total for s in shares), sum(s.records for s in shares)).mean
