"""Claims that come back: while they are lost nothing is decided, and they are rebuilt."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, Callable
from typing import Self

import structlog

from promptmill.core.errors import Fatal, Transient
from promptmill.core.gates.base import Claim, Claimed, Decision, Gate, StateLost

log = structlog.get_logger(__name__)

RETRY_S = 1.0


class RecoveringClaims:
    """A gate whose claims are rebuilt in the background when they are lost.

    A claim never waits for that: it fails at once with ``StateLost``, which is ``Unavailable``,
    so that its message is tried again without counting an attempt or nearing its deadline.

    Args:
        gate: started and stopped with this.
        published: tells every published decision, from the store and from the tails of the
            topics that the store has not taken yet; called anew for each rebuild.
    """

    def __init__(self, gate: Gate, published: Callable[[], AsyncIterable[Claimed]]) -> None:
        self._gate = gate
        self._published = published
        self._recovery: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        """Connect, and rebuild the claims unless they are complete.

        Waits for a server that is away.

        Raises:
            Misconfigured: the server may evict claims, or refuses the credentials.
        """
        try:
            await self._recover()
        except BaseException:
            await self._gate.stop()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        """Stop rebuilding, and disconnect."""
        if self._recovery is not None:
            self._recovery.cancel()
            await asyncio.gather(self._recovery, return_exceptions=True)
        await self._gate.stop()

    @property
    def recovering(self) -> bool:
        """Whether the claims are being rebuilt."""
        return self._recovery is not None and not self._recovery.done()

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
            return await self._gate.claim(claim)
        except StateLost as error:
            self._begin_recovery(error)
            raise

    def _begin_recovery(self, error: StateLost) -> None:
        if not self.recovering:
            log.warning("claims_lost", error=str(error))
            self._recovery = asyncio.create_task(self._recover(), name="recover-claims")

    async def _recover(self) -> None:
        while True:
            try:
                return await self._rebuild()
            except Transient as error:
                log.warning("claims_away", error=str(error))
                await asyncio.sleep(error.retry_after_s or RETRY_S)
            except Fatal:
                raise
            except Exception as error:  # else each claim would meet it, and be buried for it
                raise Fatal(f"the claims cannot be rebuilt: {error!r}") from error

    async def _rebuild(self) -> None:
        await self._gate.start()
        if await self._gate.is_complete():
            return
        rebuilt = await self._gate.rebuild(self._published())
        log.info("claims_rebuilt", claims=rebuilt.claims, conflicts=rebuilt.conflicts)
