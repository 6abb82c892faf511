"""What backpressure adds to a worker's metrics; see the table of ``StageMetrics``."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from prometheus_client import Counter, Gauge

from promptmill.flow.lags import TopicLag
from promptmill.flow.marks import Marks, Unit
from promptmill.flow.throttle import Reason, label
from promptmill.runtime.telemetry.metrics import StageMetrics


class FlowMetrics:
    """The gauges and counters of one worker.

    Args:
        marks: of the topics that it writes to.
        age: seconds since lags were last known.
    """

    def __init__(
        self,
        metrics: StageMetrics,
        marks: Mapping[str, Marks],
        *,
        age: Callable[[], float],
        term: Callable[[], float],
        is_reader: Callable[[], bool],
        held_publishers: Callable[[], float],
    ) -> None:
        self._stage = metrics.stage
        registry = metrics.registry
        self._held_s = Counter(
            "promptmill_held_seconds", "seconds held", ["stage", "reason"], registry=registry
        )
        self._reads = Counter(
            "promptmill_lag_reads", "looks at lags", ["stage", "source"], registry=registry
        )
        labels = ["stage", "topic"]
        self._lags = {
            unit: Gauge(
                f"promptmill_topic_{unit.value}",
                f"{unit.value} that wait on a topic",
                labels,
                registry=registry,
            )
            for unit in Unit
        }
        for unit in Unit:
            high = Gauge(
                f"promptmill_topic_high_{unit.value}",
                f"high-water mark of a topic in {unit.value}",
                labels,
                registry=registry,
            )
            for topic, own in marks.items():
                high.labels(self._stage, topic).set(own.high(unit))
        self._held = Gauge(
            "promptmill_held", "1 while backpressure holds", ["stage"], registry=registry
        ).labels(self._stage)
        metrics.watch("lags_age_seconds", "since lags were last known", age)
        metrics.watch("lags_term", "of the reader of lags", term)
        metrics.watch("held_publishers", "publishers that wait for room", held_publishers)
        metrics.watch("is_lag_reader", "1 while this worker measures", lambda: float(is_reader()))

    def looked(self, source: str, lags: Mapping[str, TopicLag]) -> None:
        """Lags were read: from the ``board``, from ``kafka``, or ``none`` could be."""
        self._reads.labels(self._stage, source).inc()
        for topic, lag in lags.items():
            self._lags[Unit.RECORDS].labels(self._stage, topic).set(lag.records)
            self._lags[Unit.BYTES].labels(self._stage, topic).set(lag.bytes)

    def held(self, reasons: Iterable[Reason], seconds: float) -> None:
        """So much time has passed; these reasons held the worker meanwhile."""
        is_held = False
        for reason in reasons:
            is_held = True
            self._held_s.labels(self._stage, label(reason)).inc(seconds)
        self._held.set(float(is_held))
