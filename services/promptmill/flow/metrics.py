"""The metrics of backpressure in a worker; see the table of ``StageMetrics``."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping

from prometheus_client import Counter, Gauge

from promptmill.flow.lags import Standing, TopicLag
from promptmill.flow.marks import Marks, Unit
from promptmill.flow.throttle import Reason, label
from promptmill.runtime.telemetry.metrics import StageMetrics


class FlowMetrics:
    """The gauges and counters of one worker.

    Args:
        marks: the marks of the topics that it writes to and of the topic that it reads.
        age: returns the age in seconds of the lags that were last known.
        standing: the worker's knowledge of the lag reader and the publishers, which changes.
    """

    def __init__(
        self,
        metrics: StageMetrics,
        marks: Mapping[str, Marks],
        age: Callable[[], float],
        standing: Standing,
    ) -> None:
        self._metrics = metrics
        self._stage = metrics.stage
        self._topics = frozenset(marks)
        self._standing = standing
        self._waited_s: float | None = None
        self._held_s = self._counter("held_seconds", "seconds held", "reason")
        self._reads = self._counter("lag_reads", "looks at lags", "source")
        self._waits = self._counter(
            "publishers_waited_seconds", "seconds that publishers waited"
        ).labels(self._stage)
        self._records = self._gauge("topic_records", "records that wait on a topic", "topic")
        self._bytes = self._gauge("topic_bytes", "bytes that wait on a topic", "topic")
        self._tokens = self._gauge("topic_tokens", "tokens that wait on a topic", "topic")
        self._seconds = self._gauge(
            "topic_seconds", "until a topic is empty at the present rate", "topic"
        )
        self._held = self._gauge("held", "1 while backpressure holds").labels(self._stage)
        self._show_marks(marks)
        metrics.watch("lags_age_seconds", "since lags were last known", age)
        metrics.watch("lags_term", "of the reader of lags", lambda: standing.term)
        metrics.watch(
            "held_publishers", "publishers that wait for room", lambda: standing.held_publishers
        )
        metrics.watch(
            "is_lag_reader", "1 while this worker measures", lambda: float(standing.is_reader)
        )

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        names = ["stage", *labels]
        return Counter(f"promptmill_{name}", text, names, registry=self._metrics.registry)

    def _gauge(self, name: str, text: str, *labels: str) -> Gauge:
        names = ["stage", *labels]
        return Gauge(f"promptmill_{name}", text, names, registry=self._metrics.registry)

    def _show_marks(self, marks: Mapping[str, Marks]) -> None:
        for unit in Unit:
            name = unit.value
            high = self._gauge(f"topic_high_{name}", f"high-water mark in {name}", "topic")
            low = self._gauge(f"topic_low_{name}", f"low-water mark in {name}", "topic")
            for topic, own in marks.items():
                high.labels(self._stage, topic).set(own.high(unit))
                low.labels(self._stage, topic).set(own.low(unit))

    def looked(self, source: str, lags: Mapping[str, TopicLag]) -> None:
        """Count a reading of the lags from the ``board``, from ``kafka`` or from ``none``."""
        self._reads.labels(self._stage, source).inc()
        self._count_waits()
        for topic in self._topics & lags.keys():
            self._show(lags[topic])

    def _show(self, lag: TopicLag) -> None:
        place = (self._stage, lag.topic)
        self._records.labels(*place).set(lag.records)
        self._bytes.labels(*place).set(lag.bytes)
        self._seconds.labels(*place).set(math.inf if lag.seconds is None else lag.seconds)
        if lag.tokens is not None:
            self._tokens.labels(*place).set(lag.tokens)

    def _count_waits(self) -> None:
        """Count the growth of the sum in Redis, which falls when Redis is emptied."""
        before, self._waited_s = self._waited_s, self._standing.waited_s
        if before is not None:
            self._waits.inc(max(0.0, self._waited_s - before))

    def held(self, reasons: Iterable[Reason], seconds: float) -> None:
        """Count the seconds for which these reasons held the worker."""
        is_held = False
        for reason in reasons:
            is_held = True
            self._held_s.labels(self._stage, label(reason)).inc(seconds)
        self._held.set(float(is_held))
