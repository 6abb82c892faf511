"""A worker whose polls go on failing is not ready, although it has joined its group."""

from __future__ import annotations

import aiohttp

from promptmill.runtime.telemetry.health import Health, HealthServer
from promptmill.runtime.telemetry.metrics import POLLS_QUIET_S, StageMetrics
from promptmill.worker.lifecycle import UNREADY_AFTER_S, _poll_trouble


class Clock:
    """Time that stands still until it is moved."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


async def test_polls_that_go_on_failing_make_a_worker_unready_until_they_stop() -> None:
    clock = Clock()
    metrics = StageMetrics("reward", clock)
    health = Health(lambda: _poll_trouble(metrics))
    async with HealthServer(health, metrics) as server, aiohttp.ClientSession() as http:

        async def ready() -> tuple[int, str]:
            async with http.get(f"{server.url}/health/ready") as answer:
                return answer.status, (await answer.json())["detail"]

        assert await ready() == (503, "starting")
        health.set_ready()
        metrics.poll_failed("kafka_connection_error")
        assert await ready() == (200, "ready")
        clock.now += UNREADY_AFTER_S + 1
        metrics.poll_failed("kafka_connection_error")
        assert await ready() == (503, "polls of Kafka have failed for 11 s")
        async with http.get(f"{server.url}/metrics") as answer:
            shown = await answer.text()
        clock.now += POLLS_QUIET_S + 1
        assert await ready() == (200, "ready")
        health.set_unready("draining")
        assert await ready() == (503, "draining")
    counted = 'poll_failures_total{reason="kafka_connection_error",stage="reward"} 2.0'
    assert counted in shown


def test_two_failures_far_apart_are_no_lasting_trouble() -> None:
    clock = Clock()
    metrics = StageMetrics("reward", clock)
    metrics.poll_failed("kafka_timeout_error")
    clock.now += 3_600
    metrics.poll_failed("kafka_timeout_error")
    clock.now += 1
    assert metrics.polls_fail_for_s == 1.0
