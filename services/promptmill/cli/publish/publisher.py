"""Publishing lines as prompts; each line is reported once, in order, when its result is known."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from typing import NamedTuple, TypeAlias

from promptmill.cli.counts import CUSTOM_ID
from promptmill.cli.publish.answers import completion_of, with_prompt
from promptmill.cli.publish.context import ContextCheck, accept_all
from promptmill.cli.publish.draws import Draws
from promptmill.cli.publish.files.splitting import RawLine
from promptmill.cli.publish.id_set import OwnIds
from promptmill.cli.publish.lines import (
    AS_IT_IS,
    Defaults,
    Reader,
    only_text,
    parse_object,
    prompt_of,
    too_long,
)
from promptmill.cli.publish.outbox import Outbox, PartitionBatch, Refusals
from promptmill.cli.publish.ports import Known, LineResult, Room, Unlimited
from promptmill.stream.ports import Message
from promptmill_schemas import Completion, ContractError, Prompt, encode
from promptmill_schemas.headers import EventHeaders, new_trace
from promptmill_schemas.limits import MAX_PROMPT_BYTES
from promptmill_schemas.prompt_template import Filled, PromptTemplate
from promptmill_schemas.topics import COMPLETIONS, PROMPTS

MAX_IN_FLIGHT = 8_000
MAX_BYTES_IN_FLIGHT = 32 * 1024 * 1024


class _Outgoing(NamedTuple):
    """An encoded prompt that will be sent, and the completion with its answers, if any."""

    prompt_id: str
    prompt: Message
    answers: Message | None = None


Parsed: TypeAlias = _Outgoing | Prompt | Completion | ContractError
"""The content of a line: its prompt, encoded or not, or a completion; or the line's error."""


class _Pending(NamedTuple):
    result: LineResult
    size: int = 0
    batch: PartitionBatch | None = None

    @property
    def is_settled(self) -> bool:
        return self.batch is None or self.batch.is_settled

    async def wait(self) -> None:
        if self.batch is not None and self.batch.sending is not None:
            await asyncio.wait([self.batch.sending])

    def refusals(self) -> Refusals | None:
        sending = None if self.batch is None else self.batch.sending
        return None if sending is None else sending.result()


class Publisher:
    """Publishes each prompt of a run once.

    Args:
        outbox: sends the prompts.
        defaults: the values for fields that a line does not set.
        known: the published prompts, to which this publisher adds its own.
        report: called with the result of each line, in the order of the lines.
        check: refuses prompts that no model can answer.
        room: the number of prompts that may be sent.
        reader: translates rows to plain lines.
        draws: the draws of lines with own ids; ``None`` means only those of this input.
    """

    def __init__(
        self,
        outbox: Outbox,
        defaults: Defaults,
        known: Known,
        report: Callable[[LineResult], None],
        *,
        check: ContextCheck = accept_all,
        room: Room | None = None,
        reader: Reader = AS_IT_IS,
        draws: Draws | None = None,
    ) -> None:
        self._outbox = outbox
        self._defaults = defaults
        self._known = known
        self._report = report
        self._check = check
        self._room = Unlimited() if room is None else room
        self._reader = reader
        self._pending: deque[_Pending] = deque()
        self._bytes = 0
        self._owners = OwnIds()
        self._draws = Draws(known) if draws is None else draws
        self._events = EventHeaders("publish")
        self._of_answers = EventHeaders("publish-answers")
        self._template = _template(defaults) if reader.reads_texts else None

    async def publish(self, batches: AsyncIterator[Sequence[RawLine]]) -> None:
        """Publish all lines, and return when each one is acknowledged or refused.

        Args:
            batches: batches of lines; each batch is sent without waiting for the next.

        Raises:
            HeldBack: the topic is full, and the caller chose not to wait; all earlier lines are
                reported.
            Unavailable: the broker did not answer within the patience of the outbox. The lines with
                a known result are reported; call :meth:`drain` for those that are still being sent.
        """
        async for lines in batches:
            await self._room.refresh()
            for line, parsed in await self._parse_all(lines):
                if (message := await self._take(line, parsed)) is not None:
                    if self._room.left <= 0:
                        # Settle all earlier lines first, so that the receipts are complete during
                        # the wait.
                        await self._settle_down_to(0)
                        await self._room.wait()
                    self._send(line, message)
                if len(self._pending) > MAX_IN_FLIGHT or self._bytes > MAX_BYTES_IN_FLIGHT:
                    await self._settle_down_to(0.5)
            await self._settle_down_to(0.5)
        await self._settle_down_to(0)

    async def drain(self, limit_s: float) -> int:
        """Report the lines whose prompts are acknowledged within ``limit_s`` seconds.

        Returns:
            The number of prompts that were sent and not acknowledged. Prompts that were not sent
            yet are forgotten.
        """
        sends = {e.batch.sending for e in self._pending if e.batch and e.batch.sending}
        if sends:
            await asyncio.wait(sends, timeout=limit_s)
        missing, lost = set[str | None](), 0
        while self._pending:
            entry = self._pending[0]
            if entry.result.prompt_id in missing:
                self._pending.popleft()  # its prompt is not published either
            elif entry.is_settled and not (entry.batch and entry.batch.has_failed):
                self._report_oldest()
            else:
                missing.add(entry.result.prompt_id)
                lost += entry.batch is not None and entry.batch.sending is not None
                self._pending.popleft()
        await _cancel(sends)
        return lost

    async def _parse_all(self, lines: Sequence[RawLine]) -> list[tuple[RawLine, Parsed]]:
        """Parse all lines, and look up which of their prompts are published."""
        parsed = [(line, self._parse_or_error(line)) for line in lines]
        ids = [_id_of(each) for _, each in parsed if not isinstance(each, ContractError)]
        await self._known.look_up(ids)
        return parsed

    def _parse_or_error(self, line: RawLine) -> Parsed:
        try:
            return self._parse(line)
        except ContractError as error:
            return error

    async def _take(self, line: RawLine, parsed: Parsed) -> _Outgoing | None:
        """Return the prompt to send, or ``None`` if the line's result is already known."""
        try:
            message = await self._message(line, parsed)
        except ContractError as error:
            result = LineResult(line.number, "invalid", None, error, line.file)
            self._pending.append(_Pending(result))
            return None
        if not self._known.add(message.prompt_id):
            result = LineResult(line.number, "duplicate", message.prompt_id, file=line.file)
            self._pending.append(_Pending(result))
            return None
        return message

    def _send(self, line: RawLine, message: _Outgoing) -> None:
        size = message.prompt.size + (message.answers.size if message.answers else 0)
        self._bytes += size
        self._room.sent(size)
        batch = self._outbox.add(message.prompt, message.answers)
        result = LineResult(line.number, "published", message.prompt_id, file=line.file)
        self._pending.append(_Pending(result, size, batch))

    def _parse(self, line: RawLine) -> Parsed:
        if line.is_cut:
            raise too_long(line.content, line.size)
        value = parse_object(line.content)
        if self._template is not None and (text := only_text(value)) is not None:
            if self._check is not accept_all:
                self._check(self._template.conversation(text))
            return self._filled(self._template.fill(text))
        if self._outbox.takes_answers:
            return completion_of(self._reader.take(value), self._defaults)
        return prompt_of(value, self._defaults, self._reader)

    async def _message(self, line: RawLine, parsed: Parsed) -> _Outgoing:
        """Return the message to send; raise the line's error if it is invalid."""
        if isinstance(parsed, ContractError):
            raise parsed
        if isinstance(parsed, _Outgoing):
            return parsed
        if isinstance(parsed, Prompt):
            return self._encoded(line, await self._placed(line, parsed))
        prompt = await self._placed(line, parsed.prompt)
        completion, trace = with_prompt(parsed, prompt), new_trace(prompt.prompt_id)
        headers = self._of_answers.of(COMPLETIONS, completion, trace)
        answers = Message(prompt.prompt_id.encode(), encode(completion), headers)
        return self._encoded(line, prompt)._replace(answers=answers)

    async def _placed(self, line: RawLine, prompt: Prompt) -> Prompt:
        """Return the prompt as the draw of its own id."""
        if own := prompt.tags.get(CUSTOM_ID):
            owner, number = self._owners.claim(own, prompt.prompt_id, line.number)
            if owner != prompt.prompt_id:
                limit = f"line {number} has the same id and different content"
                raise ContractError(CUSTOM_ID, own, limit, "give each prompt its own id")
            return await self._draws.place(prompt, own)
        return prompt

    def _encoded(self, line: RawLine, prompt: Prompt) -> _Outgoing:
        self._check(prompt)
        raw = encode(prompt)
        if isinstance(line.content, dict) and len(raw) > MAX_PROMPT_BYTES:
            raise too_long(raw, len(raw))
        headers = self._events.of(PROMPTS, prompt, new_trace(prompt.prompt_id))
        return _Outgoing(prompt.prompt_id, Message(prompt.prompt_id.encode(), raw, headers))

    def _filled(self, made: Filled) -> _Outgoing:
        own, trace = made.prompt_id, new_trace(made.prompt_id)
        headers = self._events.about(PROMPTS, own, subject=own, time=made.created_at, trace=trace)
        return _Outgoing(own, Message(own.encode(), made.raw, headers))

    def _fill(self) -> float:
        """Return the share of the allowed messages and bytes that is in flight."""
        return max(len(self._pending) / MAX_IN_FLIGHT, self._bytes / MAX_BYTES_IN_FLIGHT)

    async def _settle_down_to(self, share: float) -> None:
        """Send all open batches, and wait until at most this share is in flight."""
        self._outbox.flush()
        while self._pending and (self._pending[0].is_settled or self._fill() > share):
            if not self._pending[0].is_settled:
                await self._pending[0].wait()
            self._report_oldest()

    def _report_oldest(self) -> None:
        """Report the oldest line, which is settled; leave it pending if its batch failed."""
        entry = self._pending[0]
        result = entry.result
        refusals = entry.refusals()
        if refusals and (refusal := refusals.get(str(result.prompt_id).encode())):
            self._known.discard(str(result.prompt_id))
            error = ContractError(
                "", f"{entry.size} bytes", str(refusal), "shorten or split the text"
            )
            result = LineResult(result.number, "invalid", None, error, result.file)
        self._pending.popleft()
        self._bytes -= entry.size
        self._report(result)


def _id_of(parsed: _Outgoing | Prompt | Completion) -> str:
    return parsed.prompt.prompt_id if isinstance(parsed, Completion) else parsed.prompt_id


def _template(defaults: Defaults) -> PromptTemplate | None:
    """Return a template for lines with only a text, or ``None`` if the defaults set an own id."""
    if CUSTOM_ID in defaults.tags:
        return None
    return PromptTemplate(
        defaults.run,
        n=defaults.n,
        sampling=defaults.sampling,
        adapter=defaults.adapter,
        tags=defaults.tags,
    )


async def _cancel(tasks: set[asyncio.Task[Refusals]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
