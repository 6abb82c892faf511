"""Lost prompts are sent again: declared dead as ``lost``, and that dead letter replayed.

So the store knows the number of every life of a prompt, and what comes of a life that was taken for
lost too early is dropped as late: a prompt is settled once, whatever turns up.
"""

from __future__ import annotations

from collections.abc import AsyncIterable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from promptmill.core.stream.dead_letters import prompt_of
from promptmill.core.stream.ports import Delivery, Partition, Sender
from promptmill.core.together import all_outcomes, gravest
from promptmill.gateway.dead_letters import replay
from promptmill.gateway.lines import Defaults, parse_line
from promptmill.gateway.pending import PendingPrompt, rebuilt
from promptmill_schemas import ContractError, DeadLetter, Message, Prompt, encode, ids
from promptmill_schemas.base import parse_json
from promptmill_schemas.dead_letter import original_fields
from promptmill_schemas.topics import DEAD_LETTERS, PROMPTS

REASON = "lost"
DETAIL = (
    "the prompt was published, has no outcome, and was on no topic beyond the groups' committed "
    "offsets"
)
AT_ONCE = 256
"""Prompts on their way to the broker together."""


class Texts:
    """The prompts to send; those without text in the table are looked for elsewhere."""

    def __init__(self, lost: Sequence[PendingPrompt]) -> None:
        self.found = {each.prompt_id: each.prompt for each in lost if each.prompt is not None}
        self._rows = {each.prompt_id: each.row for each in lost if each.prompt is None}

    @property
    def missing(self) -> list[str]:
        """The prompts whose text is not known yet."""
        return sorted(self._rows)

    async def look_on_topic(self, batches: AsyncIterable[list[Delivery]]) -> None:
        """Take them from the topic ``prompts``, as far as it still holds them."""
        async for batch in batches:
            for delivery in batch:
                prompt = prompt_of(delivery.value)
                if prompt is not None and prompt.prompt_id in self._rows:
                    self._take(prompt)

    def look_in(self, lines: Iterable[bytes], run: str) -> None:
        """Take them from lines as ``publish`` reads them; the table knows ``n`` and sampling."""
        shapes = {_shape(row): row for row in self._rows.values() if row is not None}
        for line in lines:
            try:
                messages = parse_line(line, Defaults(run)).messages
            except ContractError:
                continue  # `publish` has told that line's error
            for shape in shapes.values():
                row = self._rows.get(_identity(shape, messages))
                if row is not None and (prompt := rebuilt(row, messages)) is not None:
                    self._take(prompt)

    def _take(self, prompt: Prompt) -> None:
        del self._rows[prompt.prompt_id]
        self.found[prompt.prompt_id] = prompt


def _shape(row: Mapping[str, Any]) -> tuple[Any, ...]:
    return row["n"], row["sampling"], row["adapter"]


def _identity(row: Mapping[str, Any], messages: Sequence[Message]) -> str:
    turns = [[message.role, message.content] for message in messages]
    sampling = parse_json((row["sampling"] or "{}").encode())
    return ids.prompt_id(row["run"], turns, row["n"], sampling, row["adapter"])


async def requeue_all(
    sender: Sender, lost: Sequence[PendingPrompt], texts: Texts, prefix: str
) -> int:
    """Send every lost prompt whose text is known; returns how many were sent.

    Raises:
        Unavailable: not acknowledged in time; the same call can be made again.
    """
    ready = [each for each in lost if each.prompt_id in texts.found]
    for first in range(0, len(ready), AT_ONCE):
        batch = ready[first : first + AT_ONCE]
        done = await all_outcomes(
            [requeue(sender, each, texts.found[each.prompt_id], prefix) for each in batch]
        )
        if failure := gravest(done):
            raise failure
    return len(ready)


async def requeue(sender: Sender, lost: PendingPrompt, prompt: Prompt, prefix: str) -> None:
    """Write the dead letter, then replay it.

    A crash between the two leaves a dead letter, which ``promptmill dead replay`` sends.
    """
    letter = letter_of(lost, prompt)
    await sender.send(prefix + DEAD_LETTERS.name, DEAD_LETTERS.key(letter).encode(), encode(letter))
    await replay(sender, letter, prefix, _never)


async def _never(_partition: Partition, _offset: int) -> Delivery | None:
    """Our letters are whole: a prompt is far smaller than a dead letter may be."""
    return None


def letter_of(lost: PendingPrompt, prompt: Prompt) -> DeadLetter:
    """The dead letter of a lost prompt."""
    topic, replays = PROMPTS.name, lost.replays
    original = prompt.model_copy(update={"replays": replays})
    return DeadLetter(
        letter_id=ids.letter_id(topic, lost.partition, lost.offset, replays),
        prompt_id=prompt.prompt_id,
        run=prompt.run,
        stage="gateway",
        topic=topic,
        partition=lost.partition,
        offset=lost.offset,
        **original_fields(prompt.prompt_id.encode(), encode(original)),
        reason=REASON,
        detail=DETAIL,
        attempts=1,
        replays=replays,
        created_at=datetime.now(UTC),
    )
