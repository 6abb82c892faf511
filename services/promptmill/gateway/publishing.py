"""Lines become prompts on the topic; each line is reported once, in order, when it is settled."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from promptmill.gateway.context import ContextCheck, accept_all
from promptmill.gateway.id_set import IdSet, OwnIds
from promptmill.gateway.lines import CUSTOM_ID, Defaults, parse_line, too_long
from promptmill.gateway.outbox import Batch, Outbox, Refusals
from promptmill.gateway.splitting import RawLine
from promptmill_schemas import ContractError, Prompt, encode

MAX_IN_FLIGHT = 8_000
MAX_BYTES_IN_FLIGHT = 32 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class LineResult:
    """What became of a line.

    Attributes:
        prompt_id: of a prompt that is now on the topic, or was there before.
        error: why the line is invalid.
    """

    number: int
    outcome: Literal["published", "duplicate", "invalid"]
    prompt_id: str | None = None
    error: ContractError | None = None


@dataclass(slots=True)
class _Pending:
    result: LineResult
    size: int = 0
    batch: Batch | None = None

    @property
    def is_settled(self) -> bool:
        return self.batch is None or self.batch.is_settled


class Publisher:
    """Publishes each prompt of a run once.

    Args:
        outbox: where the prompts go.
        defaults: of the run.
        known: ids that are already published; grows.
        report: called for each line, in order of the lines.
        check: refuses what no model can take.
    """

    def __init__(
        self,
        outbox: Outbox,
        defaults: Defaults,
        known: IdSet,
        report: Callable[[LineResult], None],
        *,
        check: ContextCheck = accept_all,
    ) -> None:
        self._outbox = outbox
        self._defaults = defaults
        self._known = known
        self._report = report
        self._check = check
        self._pending: deque[_Pending] = deque()
        self._bytes = 0
        self._owners = OwnIds()

    async def publish(self, batches: AsyncIterator[Sequence[RawLine]]) -> None:
        """Publish all lines; returns when each is acknowledged or refused.

        Args:
            batches: lines that were read together are sent together; nothing of them waits
                for the next.

        Raises:
            Unavailable: the broker was away for longer than our patience. What was settled
                before is reported; call :meth:`drain` for what may still be on its way.
        """
        async for lines in batches:
            for line in lines:
                self._take(line)
                if self._fill() > 1:
                    await self._settle_down_to(0.5)
            await self._settle_down_to(0.5)
        await self._settle_down_to(0)

    async def drain(self, limit_s: float) -> int:
        """Report what is acknowledged within ``limit_s``.

        Returns:
            How many prompts were sent and are not acknowledged; what was not sent yet is
            forgotten.
        """
        sends = {e.batch.sending for e in self._pending if e.batch and e.batch.sending}
        if sends:
            await asyncio.wait(sends, timeout=limit_s)
        missing, lost = set[str | None](), 0
        while self._pending:
            entry = self._pending[0]
            if entry.result.prompt_id in missing:
                self._pending.popleft()  # the same prompt again: it is not published either
            elif entry.is_settled and not (entry.batch and entry.batch.has_failed):
                await self._settle_oldest()
            else:
                missing.add(entry.result.prompt_id)
                lost += entry.batch is not None and entry.batch.sending is not None
                self._pending.popleft()
        await _cancel(sends)
        return lost

    def _take(self, line: RawLine) -> None:
        try:
            prompt = self._parse(line)
        except ContractError as error:
            self._pending.append(_Pending(LineResult(line.number, "invalid", error=error)))
            return
        identity = prompt.prompt_id
        if not self._known.add(identity):
            self._pending.append(_Pending(LineResult(line.number, "duplicate", identity)))
            return
        raw = encode(prompt)
        self._bytes += len(raw)
        batch = self._outbox.add(identity.encode(), raw)
        result = LineResult(line.number, "published", identity)
        self._pending.append(_Pending(result, len(raw), batch))

    def _parse(self, line: RawLine) -> Prompt:
        if line.is_cut:
            raise too_long(line.content, line.size)
        prompt = parse_line(line.content, self._defaults)
        if own := prompt.tags.get(CUSTOM_ID):
            owner, number = self._owners.claim(own, prompt.prompt_id, line.number)
            if owner != prompt.prompt_id:
                limit = f"line {number} has the same id with other content"
                raise ContractError(CUSTOM_ID, own, limit, "give each prompt an id of its own")
        self._check(prompt)
        return prompt

    def _fill(self) -> float:
        """How much is in flight, as a share of what may be."""
        return max(len(self._pending) / MAX_IN_FLIGHT, self._bytes / MAX_BYTES_IN_FLIGHT)

    async def _settle_down_to(self, share: float) -> None:
        """Send what is at hand and wait until no more than this share of it is in flight."""
        self._outbox.flush()
        while self._pending and (self._pending[0].is_settled or self._fill() > share):
            await self._settle_oldest()

    async def _settle_oldest(self) -> None:
        """Wait for the oldest line; it stays pending when the wait is cut short."""
        entry = self._pending[0]
        result = entry.result
        if entry.batch is not None and entry.batch.sending is not None:
            sending = entry.batch.sending
            if not sending.done():
                await asyncio.wait([sending])
            if refusal := sending.result().get(str(result.prompt_id).encode()):
                self._known.discard(str(result.prompt_id))
                error = ContractError(
                    "", f"{entry.size} bytes", str(refusal), "shorten or split the text"
                )
                result = LineResult(result.number, "invalid", error=error)
        self._pending.popleft()
        self._bytes -= entry.size
        self._report(result)


async def _cancel(tasks: set[asyncio.Task[Refusals]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
