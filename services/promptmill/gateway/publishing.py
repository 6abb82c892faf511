"""Lines become prompts on the topic; each line is reported once, in order, when it is settled."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Literal

from promptmill.core.errors import Poison, Unavailable
from promptmill.core.stream.ports import Sender
from promptmill.gateway.context import ContextCheck, accept_all
from promptmill.gateway.lines import CUSTOM_ID, Defaults, parse_line, too_long
from promptmill.gateway.splitting import RawLine
from promptmill_schemas import ContractError, Prompt, encode

MAX_IN_FLIGHT = 1_000
MAX_BYTES_IN_FLIGHT = 64 * 1024 * 1024
PATIENCE_S = 60.0
PAUSES_S = (0.1, 0.2, 0.5, 1.0, 2.0)


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
    sending: asyncio.Task[None] | None = None


class Publisher:
    """Publishes each prompt of a run once.

    Args:
        sender: acknowledges with all in-sync replicas.
        topic: full name.
        defaults: of the run.
        known: ids that are already published; grows.
        report: called for each line, in order of the lines.
        check: refuses what no model can take.
        patience_s: how long one prompt is tried while the broker is away.
    """

    def __init__(
        self,
        sender: Sender,
        topic: str,
        defaults: Defaults,
        known: set[str],
        report: Callable[[LineResult], None],
        *,
        check: ContextCheck = accept_all,
        patience_s: float = PATIENCE_S,
    ) -> None:
        self._sender = sender
        self._topic = topic
        self._defaults = defaults
        self._known = known
        self._report = report
        self._check = check
        self._patience_s = patience_s
        self._pending: deque[_Pending] = deque()
        self._bytes = 0
        self._owners: dict[str, tuple[str, int]] = {}

    async def publish(self, lines: AsyncIterator[RawLine]) -> None:
        """Publish all lines; returns when each is acknowledged or refused.

        Raises:
            Unavailable: the broker was away for longer than our patience. What was settled
                before is reported; call :meth:`drain` for what may still be on its way.
        """
        async for line in lines:
            self._pending.append(self._admit(line))
            while self._is_full() or self._head_is_settled():
                await self._settle_oldest()
        while self._pending:
            await self._settle_oldest()

    async def drain(self, limit_s: float) -> int:
        """Report what is acknowledged within ``limit_s``; returns how many prompts are not."""
        sends = [entry.sending for entry in self._pending if entry.sending]
        if sends:
            await asyncio.wait(sends, timeout=limit_s)
        lost = 0
        while self._pending:
            if self._head_is_settled() and not _failed(self._pending[0]):
                await self._settle_oldest()
            else:
                lost += 1
                await _cancel(self._pending.popleft().sending)
        return lost

    def _admit(self, line: RawLine) -> _Pending:
        try:
            prompt = self._parse(line)
        except ContractError as error:
            return _Pending(LineResult(line.number, "invalid", error=error))
        if prompt.prompt_id in self._known:
            return _Pending(LineResult(line.number, "duplicate", prompt.prompt_id))
        self._known.add(prompt.prompt_id)
        raw = encode(prompt)
        self._bytes += len(raw)
        sending = asyncio.create_task(self._send(prompt.prompt_id, raw))
        return _Pending(LineResult(line.number, "published", prompt.prompt_id), len(raw), sending)

    def _parse(self, line: RawLine) -> Prompt:
        if line.is_cut:
            raise too_long(line.content, line.size)
        prompt = parse_line(line.content, self._defaults)
        if own := prompt.tags.get(CUSTOM_ID):
            owner, number = self._owners.setdefault(own, (prompt.prompt_id, line.number))
            if owner != prompt.prompt_id:
                limit = f"line {number} has the same id with other content"
                raise ContractError(CUSTOM_ID, own, limit, "give each prompt an id of its own")
        self._check(prompt)
        return prompt

    def _is_full(self) -> bool:
        return len(self._pending) >= MAX_IN_FLIGHT or self._bytes > MAX_BYTES_IN_FLIGHT

    def _head_is_settled(self) -> bool:
        if not self._pending:
            return False
        sending = self._pending[0].sending
        return sending is None or sending.done()

    async def _settle_oldest(self) -> None:
        """Wait for the oldest line; it stays pending when the wait is cut short."""
        entry = self._pending[0]
        result = entry.result
        if entry.sending is not None:
            await asyncio.wait([entry.sending])
            try:
                entry.sending.result()
            except Poison as error:
                self._known.discard(str(result.prompt_id))
                refusal = ContractError(
                    "", f"{entry.size} bytes", str(error), "shorten or split the text"
                )
                result = LineResult(result.number, "invalid", error=refusal)
        self._pending.popleft()
        self._bytes -= entry.size
        self._report(result)

    async def _send(self, prompt_id: str, raw: bytes) -> None:
        deadline, attempt = time.monotonic() + self._patience_s, 0
        while True:
            try:
                await self._sender.send(self._topic, prompt_id.encode(), raw)
            except Unavailable:
                if time.monotonic() > deadline:
                    raise
                await asyncio.sleep(PAUSES_S[min(attempt, len(PAUSES_S) - 1)])
                attempt += 1
            else:
                return


def _failed(entry: _Pending) -> bool:
    sending = entry.sending
    return sending is not None and isinstance(sending.exception(), Unavailable)


async def _cancel(task: asyncio.Task[None] | None) -> None:
    if task is not None:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
