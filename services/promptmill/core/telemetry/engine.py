"""The engine's own queue, as gauges."""

from __future__ import annotations

from promptmill.core.engines.base import Loaded
from promptmill.core.telemetry.metrics import StageMetrics


def watch_engine(metrics: StageMetrics, engine: object) -> None:
    """Show what the engine computes and what waits in it, where it knows."""
    if not isinstance(engine, Loaded):
        return
    metrics.watch(
        "engine_running", "requests that the engine is computing", lambda: engine.load.running
    )
    metrics.watch(
        "engine_waiting",
        "requests that the engine has accepted and not started",
        lambda: engine.load.waiting,
    )
