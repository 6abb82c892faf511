"""The metrics of a worker. Their names include the units, as Prometheus recommends."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from functools import partial

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

_SECONDS = (0.005, 0.02, 0.1, 0.5, 2, 10, 30, 120, 600)

RATE_WINDOW_S = 10.0

POLLS_QUIET_S = 15.0
"""Seconds without a failed poll after which polls count as healthy again.

This is longer than the longest pause between two failed polls.
"""


class StageMetrics:
    """The metrics of one worker; it is also the probe of its loop.

    ================================  =========  ==========================================
    promptmill_settled_total          counter    records done, by outcome and reason
    promptmill_retries_total          counter    attempts that failed, by reason
    promptmill_poll_failures_total    counter    polls of Kafka that failed, by reason
    promptmill_suspects               gauge      records that wait to run in isolation
    promptmill_flight_log_failures_total  counter  calls of the flight log that failed
    promptmill_record_seconds         histogram  time from the slot to the acknowledged outcome
    promptmill_in_flight              gauge      records that hold a slot
    promptmill_waiting                gauge      records in the backlog
    promptmill_partitions             gauge      partitions assigned
    promptmill_unacknowledged_seconds gauge      age of the oldest message not acknowledged
    promptmill_tokens_total           counter    tokens, by direction (prompt, completion)
    promptmill_settled_reads_total    counter    reads of the store's settled prompts, by result
    promptmill_settled_known          gauge      settled prompts in memory, to skip them
    promptmill_engine_running         gauge      requests that the engine is processing
    promptmill_engine_waiting         gauge      requests that wait in the engine
    promptmill_engine_trouble         gauge      1 while no request succeeds, by cause
    promptmill_held                   gauge      1 while backpressure holds the worker, else 0
    promptmill_held_seconds_total     counter    seconds held, by reason (topic and unit)
    promptmill_topic_records          gauge      lag of a topic that the worker writes to or reads
    promptmill_topic_bytes            gauge      the same in bytes, estimated
    promptmill_topic_tokens           gauge      the same in tokens of a model, estimated
    promptmill_topic_seconds          gauge      until it is worked off at the present rate
    promptmill_topic_high_records     gauge      its high-water mark in records
    promptmill_topic_high_bytes       gauge      the same in bytes
    promptmill_topic_low_records      gauge      its low-water mark in records
    promptmill_topic_low_bytes        gauge      the same in bytes
    promptmill_lags_age_seconds       gauge      age of the lags that the worker knows
    promptmill_held_publishers        gauge      publishers that wait for room
    promptmill_publishers_waited_seconds_total  counter  seconds that publishers waited for room
    promptmill_lags_term              gauge      term of the lag reader; grows with each election
    promptmill_lag_reads_total        counter    reads of the lags, by source (board, kafka, none)
    promptmill_is_lag_reader          gauge      1 while this worker is the lag reader, else 0
    promptmill_claims_usable          gauge      1 while the filter can decide, else 0
    promptmill_claims_per_bucket      gauge      claims in a bucket; over 256 there will be more
    ================================  =========  ==========================================
    """

    def __init__(self, stage: str, clock: Callable[[], float]) -> None:
        self.registry = CollectorRegistry()
        self.stage = stage
        self._clock = clock
        self._recent: deque[tuple[float, int]] = deque()
        self.done = 0
        self.tokens_seen = 0
        self.prompts_seen = 0
        self._settled = self._counter(
            "settled", "records that have an outcome, by outcome and reason", "outcome", "reason"
        )
        self._retries = self._counter(
            "retries", "attempts that failed and are repeated, by reason", "reason"
        )
        self._poll_failures = self._counter(
            "poll_failures", "polls of Kafka that failed, by reason", "reason"
        )
        self._polls_fail_since: float | None = None
        self._poll_failed_at = 0.0
        self._flight_log_failures = self._counter(
            "flight_log_failures", "calls of the log of records in flight that failed"
        ).labels(stage)
        self._settled_reads = self._counter(
            "settled_reads",
            "attempts to read the settled prompts from the store, by result",
            "result",
        )
        self._tokens = self._counter(
            "tokens", "tokens that went through the model, by direction", "direction"
        )
        self._seconds = Histogram(
            "promptmill_record_seconds",
            "time from the start of processing to the outcome",
            ["stage"],
            buckets=_SECONDS,
            registry=self.registry,
        ).labels(stage)

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(f"promptmill_{name}", text, ["stage", *labels], registry=self.registry)

    def watch(self, name: str, text: str, read: Callable[[], float]) -> None:
        """Add a gauge whose value is read at each scrape."""
        gauge = Gauge(f"promptmill_{name}", text, ["stage"], registry=self.registry)
        gauge.labels(self.stage).set_function(read)

    def watch_causes(
        self, name: str, text: str, causes: Sequence[str], read: Callable[[], str]
    ) -> None:
        """Add a gauge that is 1 for the cause that ``read`` gives at a scrape, and 0 for others."""
        gauge = Gauge(f"promptmill_{name}", text, ["stage", "cause"], registry=self.registry)
        for cause in causes:
            gauge.labels(self.stage, cause).set_function(partial(_is_cause, read, cause))

    def settled(self, outcome: str, reason: str, seconds: float) -> None:
        """Count a finished record; ``seconds`` is its processing time."""
        self._settled.labels(self.stage, outcome, reason).inc()
        self._seconds.observe(seconds)
        self.count_done(1)

    def count_done(self, records: int) -> None:
        """Count finished records for the rate."""
        now = self._clock()
        self.done += records
        self._recent.append((now, records))
        while self._recent and self._recent[0][0] < now - RATE_WINDOW_S:
            self._recent.popleft()

    def retried(self, reason: str) -> None:
        """Count a failed attempt that will be repeated."""
        self._retries.labels(self.stage, reason).inc()

    def poll_failed(self, reason: str) -> None:
        """Count a failed poll of Kafka that will be repeated."""
        self._poll_failures.labels(self.stage, reason).inc()
        now = self._clock()
        if self.polls_fail_for_s == 0.0:
            self._polls_fail_since = now
        self._poll_failed_at = now

    @property
    def polls_fail_for_s(self) -> float:
        """Seconds since polls began to fail; 0 if none has failed for ``POLLS_QUIET_S``."""
        now, since = self._clock(), self._polls_fail_since
        if since is None or now - self._poll_failed_at > POLLS_QUIET_S:
            return 0.0
        return now - since

    def flight_log_failed(self) -> None:
        """Count a failed call of the flight log."""
        self._flight_log_failures.inc()

    def settled_read(self, result: str) -> None:
        """Count a read of the settled prompts: ``read``, ``unneeded`` or ``failed``."""
        self._settled_reads.labels(self.stage, result).inc()

    def tokens(self, *, prompt: int, completion: int) -> None:
        """Count the tokens of one prompt and its answers."""
        self.prompts_seen += 1
        self.tokens_seen += prompt + completion
        self._tokens.labels(self.stage, "prompt").inc(prompt)
        self._tokens.labels(self.stage, "completion").inc(completion)

    def rate(self) -> float:
        """Finished records per second, over the last ten seconds."""
        since = self._clock() - RATE_WINDOW_S
        return sum(count for at, count in self._recent if at >= since) / RATE_WINDOW_S

    def exposition(self) -> bytes:
        """Return all metrics in Prometheus' text format."""
        return generate_latest(self.registry)


def _is_cause(read: Callable[[], str], cause: str) -> float:
    return float(read() == cause)
