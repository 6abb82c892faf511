"""The commands that show pending prompts and send lost ones again.

A lost prompt is dead-lettered with the reason ``lost``, and that dead letter is replayed. The store
therefore counts the replays of a prompt, and drops the outcome of an earlier replay that was
declared lost too soon. A prompt is settled once, even if messages arrive late.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterable, Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from promptmill.cli.addresses import find_addresses
from promptmill.cli.dead_letters import EVENTS, replay
from promptmill.cli.output import print_bytes, print_json, quiet_logs
from promptmill.cli.pending import LOST, PendingPrompt, PendingReader, rebuilt
from promptmill.cli.pipeline import addressed_layout
from promptmill.cli.publish.lines import Defaults, parse_line
from promptmill.cli.settings import CommandSettings, load
from promptmill.kafka.log_reader import LogReader
from promptmill.kafka.sender import KafkaSender
from promptmill.lake.reader import DeltaReader
from promptmill.runtime.fan_out import all_outcomes, most_severe
from promptmill.stream.dead_letters import prompt_of
from promptmill.stream.ports import Delivery, Partition, Sender
from promptmill_schemas import ContractError, DeadLetter, Message, Prompt, encode, ids
from promptmill_schemas.base import parse_json
from promptmill_schemas.dead_letter import original_fields
from promptmill_schemas.headers import as_texts, new_trace
from promptmill_schemas.message import canonical_turns
from promptmill_schemas.topics import DEAD_LETTERS, PROMPTS

REASON = "lost"
DETAIL = (
    "the prompt was published, has no outcome, and was on no topic beyond the groups' committed "
    "offsets"
)
BATCH = 256
"""The number of prompts that are sent concurrently."""

CLIENT = "promptmill-pending"
SOME_WITHOUT_TEXT = 3
"""The exit code if the text of some lost prompts is unknown."""


def show_pending(run: str, limit: int, *, as_json: bool) -> None:
    """Print the run's pending prompts, and where each of them is.

    Raises:
        Misconfigured: no Kafka is configured, or a topic does not exist.
        Unavailable: Kafka or the store does not answer.
    """
    quiet_logs()
    found = asyncio.run(_pending(load(), run))
    if as_json:
        print_json(_document(run, found, limit))
        return
    print_bytes(f"run {run}: {_counts(found)}".encode())
    for each in found[:limit]:
        text = "" if each.prompt else "  (text unknown)"
        print_bytes(f"{each.prompt_id}  {each.place:12}  replays {each.replays}{text}".encode())
    if len(found) > limit:
        print_bytes(f"… and {len(found) - limit:,} more (--limit)".encode())


def requeue_lost(
    run: str, files: Sequence[Path], confirm: Callable[[int], bool], *, dry: bool, as_json: bool
) -> int:
    """Send the run's lost prompts again.

    Args:
        run: name of the run.
        files: input files of ``publish``, for texts that neither the table nor the topic holds.
        confirm: called with the number of prompts before the first is sent; ``False`` sends none.
        dry: only count the lost prompts.
        as_json: print a JSON object.

    Returns:
        The exit code.

    Raises:
        Misconfigured: no Kafka is configured, or a topic does not exist.
        Unavailable: Kafka or the store does not answer.
    """
    quiet_logs()
    lost, texts, sent = asyncio.run(_requeue(load(), run, files, None if dry else confirm))
    missing = len(texts.missing)
    if as_json:
        counts = {"lost": len(lost), "requeued": sent, "without_text": missing}
        print_json({"run": run, **counts, "dry_run": dry})
    else:
        print_bytes(f"run {run}: {len(lost):,} lost, {sent:,} sent again".encode())
        if missing:
            print_bytes(f"{missing:,} without a text: give the files that were published".encode())
    return SOME_WITHOUT_TEXT if missing else 0


class Texts:
    """The texts of lost prompts: from the table, the topic ``prompts`` or input files.

    Attributes:
        found: the prompts whose text is known, by id.
    """

    def __init__(self, lost: Sequence[PendingPrompt]) -> None:
        self.found = {each.prompt_id: each.prompt for each in lost if each.prompt is not None}
        self._rows = {each.prompt_id: each.row for each in lost if each.prompt is None}

    @property
    def missing(self) -> list[str]:
        """The ids of the prompts whose text is not known yet."""
        return sorted(self._rows)

    async def look_on_topic(self, batches: AsyncIterable[list[Delivery]]) -> None:
        """Take missing texts from the topic ``prompts``, if it still holds them."""
        async for batch in batches:
            for delivery in batch:
                prompt = prompt_of(delivery.value)
                if prompt is not None and prompt.prompt_id in self._rows:
                    self._take(prompt)

    def look_in(self, lines: Iterable[bytes], run: str) -> None:
        """Take missing texts from input lines of ``publish``.

        The number of candidates and the sampling parameters come from the table.
        """
        shapes = {_shape(row): row for row in self._rows.values() if row is not None}
        for line in lines:
            try:
                messages = parse_line(line, Defaults(run)).messages
            except ContractError:
                continue  # `publish` has reported the error in this line
            for shape in shapes.values():
                row = self._rows.get(_identity(shape, messages))
                if row is not None and (prompt := rebuilt(row, messages)) is not None:
                    self._take(prompt)

    def _take(self, prompt: Prompt) -> None:
        del self._rows[prompt.prompt_id]
        self.found[prompt.prompt_id] = prompt


async def requeue_all(
    sender: Sender, lost: Sequence[PendingPrompt], texts: Texts, prefix: str
) -> int:
    """Send every lost prompt whose text is known, and return how many were sent.

    Raises:
        Unavailable: the broker did not acknowledge in time; the call can be repeated.
    """
    ready = [each for each in lost if each.prompt_id in texts.found]
    for first in range(0, len(ready), BATCH):
        batch = ready[first : first + BATCH]
        done = await all_outcomes(
            [requeue(sender, each, texts.found[each.prompt_id], prefix) for each in batch]
        )
        if failure := most_severe(done):
            raise failure
    return len(ready)


async def requeue(sender: Sender, lost: PendingPrompt, prompt: Prompt, prefix: str) -> None:
    """Send a dead letter for the prompt, then replay it.

    After a crash between the two, ``promptmill dead replay`` completes the requeue.
    """
    letter = letter_of(lost, prompt)
    key, headers = DEAD_LETTERS.key(letter).encode(), new_trace(prompt.prompt_id)
    headers = EVENTS.of(DEAD_LETTERS, letter, headers)
    await sender.send(prefix + DEAD_LETTERS.name, key, encode(letter), headers)
    await replay(sender, letter, prefix, _never)


def letter_of(lost: PendingPrompt, prompt: Prompt) -> DeadLetter:
    """Return the dead letter of a lost prompt."""
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
        headers=as_texts(new_trace(prompt.prompt_id)),
        reason=REASON,
        detail=DETAIL,
        attempts=1,
        replays=replays,
        created_at=datetime.now(UTC),
    )


async def _requeue(
    settings: CommandSettings,
    run: str,
    files: Sequence[Path],
    confirm: Callable[[int], bool] | None,
) -> tuple[list[PendingPrompt], Texts, int]:
    lost = [each for each in await _pending(settings, run) if each.place == LOST]
    texts = await _texts(settings, run, lost, files)
    if confirm is None or not texts.found or not confirm(len(texts.found)):
        return lost, texts, 0
    addresses = find_addresses(settings)
    layout = await addressed_layout(addresses, settings, PROMPTS, DEAD_LETTERS)
    sender = KafkaSender(
        addresses.kafka, client_id=CLIENT, delivery_timeout_s=30.0, gives_up=True, layout=layout
    )
    await sender.start()
    try:
        return lost, texts, await requeue_all(sender, lost, texts, settings.topic_prefix)
    finally:
        await sender.stop()


async def _pending(settings: CommandSettings, run: str) -> list[PendingPrompt]:
    addresses = find_addresses(settings)
    async with LogReader(addresses.kafka, client_id=CLIENT) as reader:
        return await PendingReader(settings, DeltaReader(addresses.store), reader, run).read()


async def _texts(
    settings: CommandSettings, run: str, lost: Sequence[PendingPrompt], files: Sequence[Path]
) -> Texts:
    texts = Texts(lost)
    if texts.missing:
        async with LogReader(find_addresses(settings).kafka, client_id=CLIENT) as reader:
            await texts.look_on_topic(reader.read(settings.topic(PROMPTS), {}))
    if texts.missing:
        await asyncio.to_thread(texts.look_in, _lines(files), run)
    return texts


def _lines(files: Sequence[Path]) -> Iterator[bytes]:
    for file in files:
        with file.open("rb") as stream:
            yield from (line.strip() for line in stream)


async def _never(_partition: Partition, _offset: int) -> Delivery | None:
    """Return ``None``; these dead letters hold whole messages, because a prompt fits into one."""
    return None


def _shape(row: Mapping[str, Any]) -> tuple[Any, ...]:
    return row["n"], row["sampling"], row["adapter"]


def _identity(row: Mapping[str, Any], messages: Sequence[Message]) -> str:
    turns = canonical_turns(tuple(messages))
    sampling = parse_json((row["sampling"] or "{}").encode())
    return ids.prompt_id(row["run"], turns, row["n"], sampling, row["adapter"])


def _document(run: str, found: Sequence[PendingPrompt], limit: int) -> dict[str, object]:
    return {
        "run": run,
        "pending": len(found),
        "places": _places(found),
        "prompts": [each.as_json() for each in found[:limit]],
    }


def _places(found: Sequence[PendingPrompt]) -> dict[str, int]:
    return dict(Counter(each.place for each in found))


def _counts(found: Sequence[PendingPrompt]) -> str:
    if not found:
        return "nothing is pending"
    places = (f"{count:,} {_in_words(place)}" for place, count in _places(found).items())
    return f"{len(found):,} pending: {', '.join(places)}"


def _in_words(place: str) -> str:
    return "lost (send again with `promptmill requeue`)" if place == LOST else f"on {place}"
