"""What waits on each topic, as the elected reader has measured it.

The figures are data: whoever reads them (workers, publishers, ``promptmill status``) compares them
with marks of its own. Kafka knows no bytes of a lag. Bytes and tokens are estimates: records times
the mean of what workers have lately written to, or read from, that topic.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Final

import orjson

STALE_AFTER_S: Final = 5.0
"""Figures that are older by Redis' clock say nothing about now."""


@dataclass(frozen=True, slots=True)
class TopicLag:
    """What waits on one topic, for the slowest of the stages that read it.

    Attributes:
        topic: short name, without the prefix.
        records: messages beyond what that stage has finished; what is finished and not yet
            committed does not count.
        bytes: estimate of their encoded size; 0 while no worker has measured a message.
        tokens: estimate of the tokens that a model has to read or write for them; ``None``
            where no model works on them, or no worker has counted tokens yet.
        seconds: until they are finished at the present rate; ``None`` while nothing moves.
        groups: records by stage that reads the topic.
        partitions: that the topic has; a member of a stage with a third of them does a third of
            its work. 0 where unknown.
    """

    topic: str
    records: int
    bytes: int = 0
    tokens: int | None = None
    seconds: float | None = None
    groups: Mapping[str, int] = field(default_factory=dict)
    partitions: int = 0


@dataclass(slots=True)
class Standing:
    """What a worker knows of the reader of lags and of the publishers; it changes at each look.

    Attributes:
        term: of the reader that measured the lags which it knows.
        is_reader: whether it measures for all.
        held_publishers: how many wait for room on the topic of prompts.
        waited_s: for how long publishers have waited, all of them together.
    """

    term: int = 0
    is_reader: bool = False
    held_publishers: int = 0
    waited_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Lags:
    """One measurement of all topics.

    Attributes:
        term: of the reader that measured; grows with each election.
        at_s: when the measurement began, by Redis' clock, in seconds since 1970.
        age_s: seconds since then, when it was read.
        topics: by short name.
        reader: id of the worker that measured.
    """

    term: int
    at_s: float
    topics: Mapping[str, TopicLag]
    age_s: float = 0.0
    reader: str = ""

    @property
    def is_stale(self) -> bool:
        """Whether they are too old to act on."""
        return self.age_s > STALE_AFTER_S


def encode_lags(topics: Mapping[str, TopicLag], reader: str) -> bytes:
    """The figures as they stand in Redis; term and time are put beside them by the server."""
    return orjson.dumps({"reader": reader, "topics": [asdict(lag) for lag in topics.values()]})


def decode_lags(term: int, at_s: float, now_s: float, payload: bytes) -> Lags:
    """The figures that :func:`encode_lags` wrote; fields of newer versions are passed over.

    Raises:
        ValueError: the payload is something else.
    """
    try:
        given = orjson.loads(payload)
        topics = [_topic(entry) for entry in given["topics"]]
        reader = str(given.get("reader", ""))
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"these are no lags: {payload[:100]!r}") from error
    age_s = max(0.0, now_s - at_s)
    return Lags(term, at_s, {lag.topic: lag for lag in topics}, age_s, reader)


def _topic(entry: dict[str, Any]) -> TopicLag:
    tokens, seconds = entry.get("tokens"), entry.get("seconds")
    return TopicLag(
        topic=str(entry["topic"]),
        records=int(entry["records"]),
        bytes=int(entry.get("bytes", 0)),
        tokens=None if tokens is None else int(tokens),
        seconds=None if seconds is None else float(seconds),
        groups={str(stage): int(n) for stage, n in entry.get("groups", {}).items()},
        partitions=int(entry.get("partitions", 0)),
    )
