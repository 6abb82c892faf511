"""The wiring of ``dead list``, ``dead show`` and ``dead replay``."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Any

from promptmill.core.errors import Misconfigured, Poison
from promptmill.core.sinks.delta.reader import DeltaReader
from promptmill.core.sinks.tables.dead_letters import DEAD
from promptmill.core.stream.kafka.lookup import message_at
from promptmill.core.stream.kafka.sender import KafkaSender
from promptmill.core.stream.ports import Delivery, Partition
from promptmill.core.together import all_outcomes, gravest
from promptmill.gateway.addresses import find_addresses
from promptmill.gateway.dead_letters import parse_where, read_letters, replay
from promptmill.gateway.layout import addressed_layout
from promptmill.gateway.output import note, print_bytes, print_json
from promptmill.gateway.quiet import quiet_logs
from promptmill.gateway.settings import GatewaySettings, load
from promptmill_schemas import TOPICS, DeadLetter

CLIENT = "promptmill-dead"
DETAIL_WIDTH = 90
NOTED_WITHIN_S = 30.0
AT_ONCE = 256
"""Letters on their way to the broker together."""


def show_list(where: Sequence[str], *, as_json: bool) -> None:
    """Print the letters that match, oldest first."""
    settings, wanted = load(), parse_where(where)
    letters = sorted(_letters(settings, wanted), key=lambda letter: letter.created_at)
    for letter in letters:
        if as_json:
            print_json(_summary(letter))
        else:
            print_bytes(_line(letter).encode())
    if not letters and not as_json:
        print_bytes(b"no dead letters")


def show_one(letter_id: str, *, as_json: bool) -> None:
    """Print one letter whole.

    Raises:
        Misconfigured: no letter has this id, or several begin with it.
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
        print_bytes(f"{name:12} {value}".encode())
    print_bytes(f"\n{original}".encode())


def replay_all(where: Sequence[str], *, as_json: bool) -> None:
    """Send the letters that match and are dead; print how many were sent.

    Waits until the store has noted it, so that a status read afterwards is not of before.
    """
    quiet_logs()
    settings = load()
    wanted = parse_where(where) | {"state": DEAD}
    letters = _letters(settings, wanted)
    sent = asyncio.run(_replay(settings, letters)) if letters else set()
    if not _is_noted(settings, wanted, sent):
        note(
            "the store has not recorded this yet: check that a store worker is running "
            "(promptmill run store)"
        )
    counts = {"replayed": len(sent), "skipped": len(letters) - len(sent)}
    if as_json:
        print_json(counts)
    else:
        print_bytes(f"{len(sent):,} replayed, {len(letters) - len(sent):,} skipped".encode())


def _is_noted(settings: GatewaySettings, wanted: dict[str, str], sent: set[str]) -> bool:
    deadline = time.monotonic() + NOTED_WITHIN_S
    while sent & {letter.letter_id for letter in _letters(settings, wanted)}:
        if time.monotonic() > deadline:
            return False
        time.sleep(0.5)
    return True


async def _replay(settings: GatewaySettings, letters: Sequence[DeadLetter]) -> set[str]:
    """The ids of those that were sent."""
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
        for first in range(0, len(letters), AT_ONCE):
            batch = letters[first : first + AT_ONCE]
            done = await all_outcomes([replay(sender, each, prefix, originals) for each in batch])
            refused = [outcome for outcome in done if isinstance(outcome, Poison)]
            for refusal in refused:
                note(str(refusal))
            if failure := gravest([outcome for outcome in done if outcome not in refused]):
                raise failure
            sent |= {each.letter_id for each, was in zip(batch, done, strict=True) if was is True}
        return sent
    finally:
        await sender.stop()


def _letters(settings: GatewaySettings, wanted: dict[str, str]) -> list[DeadLetter]:
    return list(read_letters(DeltaReader(settings.store_uri), wanted))


def _summary(letter: DeadLetter) -> dict[str, Any]:
    return letter.model_dump(mode="json", exclude={"key", "value", "schema_version"})


def _line(letter: DeadLetter) -> str:
    return (
        f"{letter.letter_id}  {letter.state:8}  {letter.run or '-':12}  {letter.stage:8}  "
        f"{letter.reason:16}  {letter.detail[:DETAIL_WIDTH]}"
    )
