"""The task of a stream loop that looks into suspect partitions, for as long as it takes."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable

import structlog

from promptmill.core.errors import Stale, Transient, reason_of
from promptmill.core.stream.intake import OrderedIntake
from promptmill.core.stream.lost import LogCheck
from promptmill.core.stream.ports import Source
from promptmill.core.stream.settings import LoopSettings

log = structlog.get_logger(__name__)


class Rechecker:
    """Rechecks whatever is suspect, with back-off while the broker does not answer.

    Args:
        on_reopened: called when partitions are no longer suspect.
        on_failed: told the reason of each try that failed.
    """

    def __init__(
        self,
        source: Source,
        intake: OrderedIntake,
        check: LogCheck,
        settings: LoopSettings,
        *,
        on_reopened: Callable[[], None],
        on_failed: Callable[[str], None],
    ) -> None:
        self._source = source
        self._intake = intake
        self._check = check
        self._settings = settings
        self._on_reopened = on_reopened
        self._on_failed = on_failed
        self._wanted = asyncio.Event()

    def wake(self) -> None:
        """Something may be suspect."""
        if self._intake.suspects:
            self._wanted.set()

    async def run(self) -> None:
        """Recheck until cancelled.

        Raises:
            Misconfigured: records are lost, or the log ends before what is expected.
        """
        while True:
            await self._wanted.wait()
            await self._until_answered()
            self._wanted.clear()
            self._on_reopened()
            self.wake()

    async def _until_answered(self) -> None:
        failures = 0
        while True:
            try:
                async with asyncio.timeout(self._settings.failover_s):
                    return await self._intake.recheck(self._source, self._check)
            except (Transient, Stale, TimeoutError) as error:
                failures += 1
                self._on_failed(reason_of(error))
                log.warning("bounds_unknown", failures=failures, error=repr(error))
                pause = self._settings.backoff_s(failures)
                await asyncio.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311 - jitter
