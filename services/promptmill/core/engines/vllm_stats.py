"""The engine's own figures, as they come with every batch of outputs."""

from __future__ import annotations

from typing import Any

from vllm.v1.metrics.loggers import StatLoggerBase

from promptmill.core.engines.progress import Progress


def stat_logger(progress: Progress) -> Any:
    """A factory of loggers that keep ``progress`` up to date."""

    class ProgressLogger(StatLoggerBase):  # type: ignore[misc]
        """A step has ended: something was computed."""

        def __init__(self, vllm_config: Any, engine_index: int = 0) -> None:
            """Nothing to set up."""

        def record(self, scheduler_stats: Any, *_others: Any, **_more: Any) -> None:
            if scheduler_stats is None:
                progress.beat()
            else:
                progress.stepped(scheduler_stats.num_running_reqs, scheduler_stats.num_waiting_reqs)

        def log_engine_initialized(self) -> None:
            """Nothing to say."""

    return ProgressLogger
