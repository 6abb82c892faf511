"""The wiring of ``pending`` and ``requeue``."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from promptmill.core.sinks.delta.reader import DeltaReader
from promptmill.core.stream.kafka.reader import LogReader
from promptmill.core.stream.kafka.sender import KafkaSender
from promptmill.gateway.addresses import find_addresses
from promptmill.gateway.layout import addressed_layout
from promptmill.gateway.output import print_bytes, print_json
from promptmill.gateway.pending import LOST, PendingPrompt, PendingReader
from promptmill.gateway.quiet import quiet_logs
from promptmill.gateway.requeue import Texts, requeue_all
from promptmill.gateway.settings import GatewaySettings, load
from promptmill_schemas.topics import DEAD_LETTERS, PROMPTS

CLIENT = "promptmill-pending"
SOME_WITHOUT_TEXT = 3


def show_pending(run: str, limit: int, *, as_json: bool) -> None:
    """Print the run's prompts without an outcome, and where each is.

    Raises:
        Misconfigured: no Kafka is known, or a topic is missing.
        Unavailable: Kafka or the store is away.
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


async def _pending(settings: GatewaySettings, run: str) -> list[PendingPrompt]:
    addresses = find_addresses(settings)
    async with LogReader(addresses.kafka, client_id=CLIENT) as reader:
        return await PendingReader(settings, DeltaReader(addresses.store), reader, run).read()


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


def requeue_lost(
    run: str, files: Sequence[Path], confirm: Callable[[int], bool], *, dry: bool, as_json: bool
) -> int:
    """Send the run's lost prompts again; returns the exit code.

    Args:
        files: input of ``publish``, for texts that neither the table nor the topic holds.
        confirm: asked with the number of prompts before anything is sent.

    Raises:
        Misconfigured: no Kafka is known, or a topic is missing.
        Unavailable: Kafka or the store is away.
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


async def _requeue(
    settings: GatewaySettings,
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


async def _texts(
    settings: GatewaySettings, run: str, lost: Sequence[PendingPrompt], files: Sequence[Path]
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
