"""Recovery of the claims: while they are lost, nothing is decided, and they are rebuilt.

The claims are checked twice a second, so an idle filter notices a loss too.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, Awaitable, Callable
from typing import Self

import structlog

from promptmill.dedup.ports import Claim, Claimed, Decision, Decisions, DedupStore, StateLost
from promptmill.runtime.errors import Fatal, PromptmillError, Transient
from promptmill.runtime.memory import release_unused_memory

log = structlog.get_logger(__name__)

RETRY_S = 1.0
CHECK_S = 0.5
"""Pause between two checks, in seconds: a loss is noticed within a second."""


async def _no_count() -> int:
    return 0


class RecoveringClaims:
    """A dedup store whose claims are rebuilt in the background when they are lost.

    A claim never waits for a rebuild. It fails at once with ``StateLost``, which is
    ``Unavailable``, so its message is retried without an attempt being counted and without its
    deadline coming nearer.

    Args:
        dedup_store: is started and stopped together with this object.
        published: yields every published decision, from the store and from the part of the
            topics that the store has not read yet; it is called once for each rebuild.
        count: the approximate number of these decisions, which chooses the claims' layout.
        check_s: seconds between two checks.
    """

    def __init__(
        self,
        dedup_store: DedupStore,
        published: Callable[[], AsyncIterable[Claimed | Decisions]],
        *,
        count: Callable[[], Awaitable[int]] = _no_count,
        check_s: float = CHECK_S,
    ) -> None:
        self._dedup_store = dedup_store
        self._published = published
        self._count = count
        self._check_s = check_s
        self._recovery: asyncio.Task[None] | None = None
        self._checking: asyncio.Task[None] | None = None
        self._trouble = ""
        self._stopping = False

    async def __aenter__(self) -> Self:
        """Connect, and rebuild the claims unless they are complete.

        It waits for a server that is unavailable.

        Raises:
            Misconfigured: the server may evict claims, or refuses the credentials.
        """
        try:
            await self._recover()
        except BaseException:
            await self._dedup_store.stop()
            raise
        self._checking = asyncio.create_task(self._check_always(), name="check-claims")
        return self

    async def __aexit__(self, *_: object) -> None:
        """Stop rebuilding, and disconnect."""
        self._stopping = True  # asyncio.wait_for of Python 3.11 can swallow a cancellation
        tasks = [task for task in (self._checking, self._recovery) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._dedup_store.stop()

    @property
    def recovering(self) -> bool:
        """Whether the claims are being rebuilt."""
        return self._recovery is not None and not self._recovery.done()

    @property
    def usable(self) -> bool:
        """Whether the claims were complete at the last check."""
        return not self.recovering and not self._trouble

    async def claim(self, claim: Claim) -> Decision:
        """Decide, atomically among all filters.

        Raises:
            StateLost: the claims are being rebuilt.
            Unavailable: no answer in time.
            Fatal: the claims cannot be rebuilt.
        """
        if self.recovering:
            raise StateLost("the claims are being rebuilt", retry_after_s=RETRY_S)
        if self._recovery is not None:
            self._recovery.result()
        try:
            return await self._dedup_store.claim(claim)
        except StateLost as error:
            self._begin_recovery(error)
            raise

    def _begin_recovery(self, error: StateLost) -> None:
        """Begin a rebuild; after one that failed for good, the next claim ends the process."""
        if self._recovery is None or (self._recovery.done() and not self._recovery.exception()):
            log.warning("claims_lost", error=str(error))
            self._recovery = asyncio.create_task(self._recover(), name="recover-claims")

    async def _check_always(self) -> None:
        while not self._stopping:
            await asyncio.sleep(self._check_s)
            self._note(await self._trouble_now())

    async def _trouble_now(self) -> str:
        """What prevents decisions now; empty if nothing does."""
        try:
            await self._dedup_store.check()
        except StateLost as error:
            self._begin_recovery(error)
            return str(error)
        except PromptmillError as error:  # a claim raises it too, and ends the process if it must
            return str(error)
        return ""

    def _note(self, trouble: str) -> None:
        if trouble != self._trouble and not self.recovering:
            log.warning("claims_unusable", error=trouble) if trouble else log.info("claims_usable")
        self._trouble = trouble

    async def _recover(self) -> None:
        while not self._stopping:
            try:
                await self._rebuild()
            except Transient as error:
                log.warning("claims_unavailable", error=str(error))
                await asyncio.sleep(error.retry_after_s or RETRY_S)
            except Fatal:
                raise
            except Exception as error:  # else each claim would raise it and be dead-lettered
                raise Fatal(f"the claims cannot be rebuilt: {error!r}") from error
            else:
                return

    async def _rebuild(self) -> None:
        await self._dedup_store.start()
        if await self._dedup_store.is_complete():
            return
        rebuilt = await self._dedup_store.rebuild(self._published(), await self._count())
        await asyncio.to_thread(release_unused_memory)
        log.info("claims_rebuilt", claims=rebuilt.claims, conflicts=rebuilt.conflicts)
