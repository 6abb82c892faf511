"""The lags of topics, as the elected lag reader has measured them.

Workers, publishers and ``promptmill status`` compare the lags with their own water marks. Kafka
does not know the bytes of a lag, so bytes and tokens are estimates: the number of records times the
mean of the messages that workers have recently written to or read from the topic.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Final

import orjson

STALE_AFTER_S: Final = 5.0
"""The age in seconds, by Redis' clock, after which lags are not used."""


@dataclass(frozen=True, slots=True)
class TopicLag:
    """The lag of one topic, for the slowest of the stages that read it.

    Attributes:
        topic: short name, without the prefix.
        records: number of messages that the stage has not finished; messages that are finished
            and not yet committed do not count.
        bytes: estimate of their encoded size; 0 while no worker has measured a message.
        tokens: estimate of the tokens that a model reads or writes for them; ``None`` if the
            topic's reader has no model, or no worker has counted tokens yet.
        seconds: estimated time until they are finished; ``None`` if nothing is being finished.
        groups: number of records by stage that reads the topic.
        partitions: number of partitions of the topic; 0 if unknown.
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
    """A worker's knowledge of the lag reader and the publishers, which each turn updates.

    Attributes:
        term: the term of the reader that measured the latest lags.
        is_reader: whether this worker is the lag reader.
        held_publishers: number of publishers that wait for room on the topic of prompts.
        waited_s: seconds that all publishers have waited.
    """

    term: int = 0
    is_reader: bool = False
    held_publishers: int = 0
    waited_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Lags:
    """One measurement of all topics.

    Attributes:
        term: the term of the reader that measured; it grows with each election.
        at_s: the time when the measurement began, by Redis' clock, in seconds since 1970.
        age_s: the seconds from that time until the lags were read.
        topics: the lags by the topic's short name.
        reader: the id of the worker that measured.
    """

    term: int
    at_s: float
    topics: Mapping[str, TopicLag]
    age_s: float = 0.0
    reader: str = ""

    @property
    def is_stale(self) -> bool:
        """Whether the lags are too old to be used."""
        return self.age_s > STALE_AFTER_S


def encode_lags(topics: Mapping[str, TopicLag], reader: str) -> bytes:
    """Encode lags for Redis; the server stores the term and the time with them."""
    return orjson.dumps({"reader": reader, "topics": [asdict(lag) for lag in topics.values()]})


def decode_lags(term: int, at_s: float, now_s: float, payload: bytes) -> Lags:
    """Decode lags that :func:`encode_lags` encoded; fields of newer versions are ignored.

    Those of the future were written before the server's clock was set back. They count as old as
    they are new, so that they become stale.

    Raises:
        ValueError: the payload is something else.
    """
    try:
        given = orjson.loads(payload)
        topics = [_topic(entry) for entry in given["topics"]]
        reader = str(given.get("reader", ""))
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"these are no lags: {payload[:100]!r}") from error
    age_s = abs(now_s - at_s)
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
