"""The commands that list, show and replay the dead letters in the store."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final, TypeAlias

import orjson
import pyarrow.dataset as ds

from promptmill.cli.addresses import find_addresses
from promptmill.cli.output import note, print_bytes, print_json, quiet_logs
from promptmill.cli.pipeline import addressed_layout
from promptmill.cli.settings import CommandSettings, load
from promptmill.kafka.log_reader import message_at
from promptmill.kafka.sender import KafkaSender
from promptmill.lake.dead_letters import scan_letters
from promptmill.lake.ports import TableName
from promptmill.lake.reader import DeltaReader
from promptmill.lake.tables.dead_letters import DEAD, REPLAYED, SCHEMA, letter_of
from promptmill.runtime.errors import Misconfigured, Poison
from promptmill.runtime.fan_out import all_outcomes, most_severe
from promptmill.runtime.terminal import printable
from promptmill.stream.ports import Delivery, Partition, Sender
from promptmill_schemas import TOPICS, ContractError, DeadLetter, encode
from promptmill_schemas.base import parse_json
from promptmill_schemas.headers import EventHeaders, from_texts, trace_of
from promptmill_schemas.topics import BY_NAME, DEAD_LETTERS

CLIENT = "promptmill-dead"
DETAIL_WIDTH = 90
RECORDED_WITHIN_S = 30.0
BATCH = 256
"""The number of dead letters that are sent concurrently."""

EVENTS: Final = EventHeaders("dead")

FIELDS: Final = ("run", "stage", "topic", "reason", "state", "prompt_id", "letter_id")
_ROW: Final = tuple(name for name in SCHEMA.names if name in DeadLetter.model_fields)

Originals: TypeAlias = Callable[[Partition, int], Awaitable[Delivery | None]]
"""A function that reads the message at an offset, or ``None`` if the log has lost it."""


def show_list(where: Sequence[str], *, as_json: bool) -> None:
    """Print the dead letters that match all conditions, oldest first."""
    settings, wanted = load(), parse_where(where)
    letters = sorted(_letters(settings, wanted), key=lambda letter: letter.created_at)
    for letter in letters:
        if as_json:
            print_json(_summary(letter))
        else:
            print_bytes(printable(_line(letter)).encode())
    if not letters and not as_json:
        print_bytes(b"no dead letters")


def show_one(letter_id: str, *, as_json: bool) -> None:
    """Print one dead letter with its original message.

    Args:
        letter_id: the id or its first characters.
        as_json: print a JSON object.

    Raises:
        Misconfigured: no dead letter's id begins with this, or more than one does.
    """
    found = [each for each in _letters(load(), {}) if each.letter_id.startswith(letter_id)]
    if len(found) != 1:
        raise Misconfigured(
            f"{len(found)} dead letters begin with {letter_id!r}: see `promptmill dead list`"
        )
    (letter,) = found
    original = (letter.original_value or b"").decode(errors="backslashreplace")
    if as_json:
        print_json(letter.model_dump(mode="json") | {"original": original})
        return
    for name, value in _summary(letter).items():
        print_bytes(printable(f"{name:12} {value}").encode())
    print_bytes(f"\n{original}".encode())


def replay_all(where: Sequence[str], *, as_json: bool) -> None:
    """Replay the dead letters that match all conditions, and print how many were sent.

    Waits until the store has recorded the replays, so that a later ``status`` includes them.
    """
    quiet_logs()
    settings = load()
    wanted = parse_where(where) | {"state": DEAD}
    letters = _letters(settings, wanted)
    sent = asyncio.run(_replay(settings, letters)) if letters else set()
    if not _is_recorded(settings, wanted, sent):
        note(
            "the store has not recorded this yet: check that a store worker is running "
            "(promptmill run store)"
        )
    counts = {"replayed": len(sent), "skipped": len(letters) - len(sent)}
    if as_json:
        print_json(counts)
    else:
        print_bytes(f"{len(sent):,} replayed, {len(letters) - len(sent):,} skipped".encode())


def parse_where(conditions: Sequence[str]) -> dict[str, str]:
    """Parse ``field=value`` conditions into values by field.

    Raises:
        Misconfigured: a condition has no ``=``, or does not name a field of a dead letter.
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
    """Read the dead letters whose fields have these values."""
    snapshot = reader.snapshot(TableName.DEAD_LETTERS)
    if snapshot is None:
        return
    condition = None
    conditions = {field: value for field, value in wanted.items() if field != "state"}
    for field, value in conditions.items():
        part = ds.field(field) == value
        condition = part if condition is None else condition & part
    known = set(snapshot.schema.names)  # the table of an older store lacks the newer columns
    columns = [name for name in _ROW if name in known]
    for batch in scan_letters(snapshot, columns, condition, state=wanted.get("state")):
        yield from (letter_of(row) for row in batch.to_pylist())


async def replay(sender: Sender, letter: DeadLetter, prefix: str, originals: Originals) -> bool:
    """Send the original message to its topic again, and then the replay notice.

    The order matters. A crash between the two leaves a dead letter whose original was sent; if
    it is replayed again, the duplicate is dropped, and the outcome of the original closes the
    dead letter. In the other order, a crash would leave a replay notice without an original, and
    the original would never be sent.

    Args:
        sender: the sender, which must be started.
        letter: the dead letter.
        prefix: the prefix of the topics' names.
        originals: reads the original from its topic if the letter holds only its beginning.

    Returns:
        ``False`` if there is nothing to send: the letter is not dead, holds no message, or its
        original was on the dead-letter topic itself.

    Raises:
        Unavailable: the broker did not acknowledge in time; the call can be repeated.
        Poison: the letter holds only the beginning of its original, and the topic no longer
            holds the rest.
    """
    key, value = letter.original_key, letter.original_value
    topic = BY_NAME.get(letter.topic)
    if letter.state != DEAD or value is None or topic is None or topic is DEAD_LETTERS:
        return False
    if not letter.is_whole:
        original = await _read_again(letter, prefix + topic.name, originals)
        key, value = original.key, original.value or b""
    original_key = key or (letter.prompt_id or letter.letter_id).encode()
    kept_headers, message_id = from_texts(letter.headers), letter.prompt_id or letter.letter_id
    headers = EVENTS.again(topic, kept_headers, message_id)
    again = with_replays(value, letter.replays + 1)
    await sender.send(prefix + topic.name, original_key, again, headers)
    note = letter.model_copy(update={"state": REPLAYED, "created_at": datetime.now(UTC)})
    key = DEAD_LETTERS.key(letter).encode()
    headers = EVENTS.of(DEAD_LETTERS, note, trace_of(headers))
    await sender.send(prefix + DEAD_LETTERS.name, key, encode(note), headers)
    return True


def with_replays(value: bytes, replays: int) -> bytes:
    """Set ``replays`` of the prompt that the message contains.

    The prompt's id does not depend on it. A message without a prompt is returned unchanged.
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


def _is_recorded(settings: CommandSettings, wanted: dict[str, str], sent: set[str]) -> bool:
    deadline = time.monotonic() + RECORDED_WITHIN_S
    while sent & {letter.letter_id for letter in _letters(settings, wanted)}:
        if time.monotonic() > deadline:
            return False
        time.sleep(0.5)
    return True


async def _replay(settings: CommandSettings, letters: Sequence[DeadLetter]) -> set[str]:
    """Replay these dead letters, and return the ids of those that were sent."""
    addresses, prefix = find_addresses(settings), settings.topic_prefix
    layout = await addressed_layout(addresses, settings, *TOPICS)
    sender = KafkaSender(
        addresses.kafka, client_id=CLIENT, delivery_timeout_s=30.0, gives_up=True, layout=layout
    )

    async def originals(partition: Partition, offset: int) -> Delivery | None:
        return await message_at(addresses.kafka, CLIENT, partition, offset)

    await sender.start()
    sent: set[str] = set()
    try:
        for first in range(0, len(letters), BATCH):
            batch = letters[first : first + BATCH]
            done = await all_outcomes([replay(sender, each, prefix, originals) for each in batch])
            refused = [outcome for outcome in done if isinstance(outcome, Poison)]
            for refusal in refused:
                note(str(refusal))
            if failure := most_severe([outcome for outcome in done if outcome not in refused]):
                raise failure
            sent |= {each.letter_id for each, was in zip(batch, done, strict=True) if was is True}
        return sent
    finally:
        await sender.stop()


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


def _letters(settings: CommandSettings, wanted: dict[str, str]) -> list[DeadLetter]:
    return list(read_letters(DeltaReader(settings.store_uri), wanted))


def _summary(letter: DeadLetter) -> dict[str, Any]:
    return letter.model_dump(mode="json", exclude={"key", "value", "schema_version"})


def _line(letter: DeadLetter) -> str:
    return (
        f"{letter.letter_id}  {letter.state:8}  {letter.run or '-':12}  {letter.stage:8}  "
        f"{letter.reason:16}  {letter.detail[:DETAIL_WIDTH]}"
    )
