"""Dead letters as the store keeps them: found by their fields, and sent again."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final, TypeAlias

import orjson
import pyarrow.dataset as ds

from promptmill.core.errors import Misconfigured, Poison
from promptmill.core.sinks.base import TableName
from promptmill.core.sinks.delta.reader import DeltaReader
from promptmill.core.sinks.letters import scan_letters
from promptmill.core.sinks.tables.dead_letters import DEAD, REPLAYED, SCHEMA
from promptmill.core.stream.ports import Delivery, Partition, Sender
from promptmill_schemas import ContractError, DeadLetter, encode
from promptmill_schemas.base import parse_json
from promptmill_schemas.topics import BY_NAME, DEAD_LETTERS

FIELDS: Final = ("run", "stage", "topic", "reason", "state", "prompt_id", "letter_id")
_ROW: Final = tuple(name for name in SCHEMA.names if name in DeadLetter.model_fields)


def parse_where(conditions: Sequence[str]) -> dict[str, str]:
    """``field=value`` conditions; all of them hold together.

    Raises:
        Misconfigured: a condition names no field of a dead letter.
    """
    wanted = {}
    for condition in conditions:
        field, equals, value = condition.partition("=")
        if not equals or field not in FIELDS:
            raise Misconfigured(
                f"--where {condition!r}: use field=value with one of {', '.join(FIELDS)}"
            )
        wanted[field] = value
    return wanted


def read_letters(reader: DeltaReader, wanted: Mapping[str, str]) -> Iterator[DeadLetter]:
    """The letters whose fields have these values."""
    snapshot = reader.snapshot(TableName.DEAD_LETTERS)
    if snapshot is None:
        return
    condition = None
    conditions = {field: value for field, value in wanted.items() if field != "state"}
    for field, value in conditions.items():
        part = ds.field(field) == value
        condition = part if condition is None else condition & part
    known = set(snapshot.schema.names)  # an older store's table lacks the newer columns
    columns = [name for name in _ROW if name in known]
    for batch in scan_letters(snapshot, columns, condition, state=wanted.get("state")):
        yield from (DeadLetter(**_present(row)) for row in batch.to_pylist())


def _present(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if value is not None}


Originals: TypeAlias = Callable[[Partition, int], Awaitable[Delivery | None]]
"""The message at an offset; ``None`` when the log no longer holds it."""


async def replay(sender: Sender, letter: DeadLetter, prefix: str, originals: Originals) -> bool:
    """Send the original to the topic that it failed on, and note that afterwards.

    A crash between leaves a letter that still says dead although its original is on its way:
    sent again, it is absorbed, and what comes of the original marks the letter too. After a
    note without an original nobody would ever send it.

    Args:
        originals: where the original is read again when the letter keeps only its head.

    Returns:
        ``False`` when there is nothing to send: the letter is not dead, holds no bytes, or its
        original stood on the dead-letter topic itself.

    Raises:
        Unavailable: not acknowledged in time; the same call can be made again.
        Poison: the original was too large for the letter and no longer stands at its place.
    """
    key, value = letter.original_key, letter.original_value
    topic = BY_NAME.get(letter.topic)
    if letter.state != DEAD or value is None or topic is None or topic is DEAD_LETTERS:
        return False
    if not letter.is_whole:
        original = await _read_again(letter, prefix + topic.name, originals)
        key, value = original.key, original.value or b""
    original_key = key or (letter.prompt_id or letter.letter_id).encode()
    await sender.send(prefix + topic.name, original_key, with_replays(value, letter.replays + 1))
    note = letter.model_copy(update={"state": REPLAYED, "created_at": datetime.now(UTC)})
    key = DEAD_LETTERS.key(letter).encode()
    await sender.send(prefix + DEAD_LETTERS.name, key, encode(note))
    return True


async def _read_again(letter: DeadLetter, topic: str, originals: Originals) -> Delivery:
    found = await originals(Partition(topic, letter.partition), letter.offset)
    if found is None or not letter.is_of(found.value):
        what = "nothing" if found is None else "another message"
        raise Poison(
            f"dead letter {letter.letter_id} holds only the beginning of a message of "
            f"{letter.original_size:,} bytes, and {topic}-{letter.partition} now holds {what} at "
            f"offset {letter.offset}: publish the prompt again from its source file"
        )
    return found


def with_replays(value: bytes, replays: int) -> bytes:
    """The message with the count in the prompt inside it; other bytes are left as they are.

    The prompt keeps its id, which does not depend on the count.
    """
    try:
        message = parse_json(value)
    except ContractError:
        return value
    prompt = message
    for wrapper in ("completion", "prompt"):
        prompt = prompt.get(wrapper, prompt) if isinstance(prompt, dict) else prompt
    if not isinstance(prompt, dict) or "prompt_id" not in prompt:
        return value
    prompt["replays"] = replays
    return orjson.dumps(message)
