"""Builds and publishes dead letters, whatever the bytes of the original message are."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Final, ParamSpec, TypeVar

import structlog

from promptmill.runtime.errors import Poison
from promptmill.stream.ports import Delivery
from promptmill_schemas import DeadLetter, Prompt, encode
from promptmill_schemas.base import parse_json, validate
from promptmill_schemas.dead_letter import original_fields
from promptmill_schemas.headers import as_texts
from promptmill_schemas.ids import letter_id
from promptmill_schemas.topics import DEAD_LETTERS

log = structlog.get_logger(__name__)

MAX_DETAIL_CHARACTERS = 2_000

LARGE_BYTES: Final = 256 * 1024
"""Messages of this size or larger take 1 ms or more to decode."""

Given = ParamSpec("Given")
Answer = TypeVar("Answer")


def dead_letter(
    delivery: Delivery, *, stage: str, topic: str, reason: str, detail: str, attempts: int
) -> DeadLetter:
    """Build the dead letter for a delivery, whatever its bytes are.

    An original that is too large for the topic is represented by its head, size and digest.

    Args:
        stage: the stage that could not process the message.
        topic: the topic's name in :mod:`promptmill_schemas.topics`, without any prefix.
        reason: short class of the failure.
        detail: the error's message.
    """
    prompt = prompt_of(delivery.value)
    replays = prompt.replays if prompt else 0
    partition, offset = delivery.partition.number, delivery.offset
    return DeadLetter(
        letter_id=letter_id(topic, partition, offset, replays),
        prompt_id=prompt.prompt_id if prompt else None,
        run=prompt.run if prompt else None,
        stage=stage,
        topic=topic,
        partition=partition,
        offset=offset,
        **original_fields(delivery.key, delivery.value),
        headers=as_texts(delivery.headers),
        reason=reason,
        detail=writable(detail)[:MAX_DETAIL_CHARACTERS] or reason,
        attempts=max(1, attempts),
        replays=replays,
        created_at=datetime.now(UTC),
    )


async def publish_dead_letter(
    message: DeadLetter, send: Callable[[bytes, bytes], Awaitable[None]]
) -> None:
    """Send a dead letter, with only the head of its original if the broker refuses its size.

    Args:
        send: publishes a key and a value, and raises :class:`Poison` if they are too large.
    """
    key, size = DEAD_LETTERS.key(message).encode(), len(message.value or "")
    try:
        await send(key, await sized_call(size, encode, message))
    except Poison as error:
        log.warning("dead_letter_truncated", letter_id=message.letter_id, error=str(error))
        await send(key, encode(await sized_call(size, message.shortened)))


def writable(text: str) -> str:
    """The text with lone surrogates, which UTF-8 cannot encode, escaped."""
    return text.encode(errors="backslashreplace").decode()


def prompt_of(raw: bytes | None) -> Prompt | None:
    """The prompt inside a message of any topic; ``None`` if there is no valid one.

    Only a prompt whose id matches its content counts: a forged or damaged one must not settle
    the prompt whose id it carries. Errors are not raised, because a dead letter may be about
    bytes that cannot be decoded at all.
    """
    try:
        value = parse_json(raw)
        for wrapper in ("completion", "prompt"):
            value = value.get(wrapper, value) if isinstance(value, dict) else value
        return validate(Prompt, value)
    except Exception:  # noqa: BLE001 - whatever is wrong with the bytes, they hold no prompt
        return None


async def sized_call(
    size: int, call: Callable[Given, Answer], *given: Given.args, **options: Given.kwargs
) -> Answer:
    """Run the call, in a thread if the message is large enough to block the event loop.

    Args:
        size: bytes of the message that the call processes.
    """
    if size < LARGE_BYTES:
        return call(*given, **options)
    return await asyncio.to_thread(call, *given, **options)
