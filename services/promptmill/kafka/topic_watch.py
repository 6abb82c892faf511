"""Notices when a topic of a consumer is deleted or recreated."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Coroutine

import structlog
from aiokafka.errors import KafkaError

from promptmill.kafka.client import KafkaAdmin
from promptmill.kafka.cluster import count_partitions
from promptmill.kafka.errors import as_error
from promptmill.kafka.topic_ids import read_topic_ids
from promptmill.runtime.errors import Fatal, Misconfigured, PromptmillError, Unavailable

log = structlog.get_logger(__name__)

EVERY_S = 10.0
"""The interval of the periodic check; consumers also check before each commit."""


class TopicWatch:
    """Remembers the ids of topics and notices when one of them is recreated.

    Args:
        admin: a client that the caller starts before the first call and closes afterwards.
        bootstrap: the address of the cluster, for errors.
        topics: full names.
        on_lost: called with errors of background checks, which end the process.
    """

    def __init__(
        self,
        admin: KafkaAdmin,
        bootstrap: str,
        topics: Collection[str],
        on_lost: Callable[[BaseException], None],
    ) -> None:
        self._admin = admin
        self._bootstrap = bootstrap
        self._topics = tuple(topics)
        self._on_lost = on_lost
        self._known: dict[str, str] = {}
        self._has_ids = True
        self._repeating: asyncio.Task[None] | None = None
        self._look: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Remember the current topics and begin the periodic check."""
        await self.check()
        self._repeating = asyncio.create_task(self._repeat())

    async def stop(self) -> None:
        """Stop the periodic check."""
        tasks = [task for task in (self._repeating, self._look) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def check(self) -> None:
        """Check that no topic was recreated since the first check.

        Nothing is compared on brokers without topic ids.

        Raises:
            Misconfigured: a topic was deleted and recreated.
            Unavailable: no broker answers, or a topic is missing.
        """
        if not self._has_ids:
            return
        try:
            self._compare(await read_topic_ids(self._admin, self._topics))
        except NotImplementedError as error:
            self._has_ids = False
            log.warning("topic_ids_unknown", topics=list(self._topics), error=str(error))
        except KafkaError as error:
            raise as_error("Kafka does not tell which topics these are", error) from error

    async def find(self) -> None:
        """Look up to three times for missing topics, then :meth:`check`.

        Raises:
            Misconfigured: a topic does not exist, may not be read, or was recreated.
            Unavailable: no broker answers.
        """
        try:
            await count_partitions(self._admin, self._bootstrap, self._topics)
        except KafkaError as error:
            raise as_error("Kafka does not answer", error) from error
        await self.check()

    def look(self) -> None:
        """Start :meth:`find` in the background, for callers that must not wait."""
        self._look = asyncio.create_task(self._find())

    async def _find(self) -> None:
        await self._report(self.find)

    async def _repeat(self) -> None:
        while True:
            await asyncio.sleep(EVERY_S)
            await self._report(self.check)

    async def _report(self, act: Callable[[], Coroutine[None, None, None]]) -> None:
        try:
            await act()
        except Fatal as error:
            self._on_lost(error)
        except PromptmillError as error:
            log.info("topics_not_checked", error=repr(error))

    def _compare(self, found: dict[str, str]) -> None:
        for topic, known in self._known.items():
            if found.get(topic, known) != known:
                raise _recreated(topic, known, found[topic])
        if missing := sorted(self._known.keys() - found):
            raise Unavailable(f"Kafka has no topic {', '.join(missing)} now")
        self._known = found


def _recreated(topic: str, known: str, found: str) -> Misconfigured:
    return Misconfigured(
        f"{topic} was deleted and created again under this worker (topic id {known} before, "
        f"{found} now): its offsets belong to the former topic, and reading on would skip the "
        "first messages of this one. Start the worker again: a stage begins at the first message "
        "of the new topic; the store needs a new folder (PROMPTMILL_STORE) for it"
    )
