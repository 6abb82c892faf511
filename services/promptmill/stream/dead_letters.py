"""Dead letters: what is known of a message that a stage gives up on."""

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
from promptmill_schemas.ids import letter_id
from promptmill_schemas.topics import DEAD_LETTERS

LARGE_BYTES: Final = 256 * 1024
"""From here on a message is large: 1 to 3 ms to decode."""

Given = ParamSpec("Given")
Answer = TypeVar("Answer")


async def sized_call(
    size: int, call: Callable[Given, Answer], *given: Given.args, **options: Given.kwargs
) -> Answer:
    """What the call returns or raises; it runs in a thread if it works on a large message.

    Args:
        size: bytes that it works on.
    """
    if size < LARGE_BYTES:
        return call(*given, **options)
    return await asyncio.to_thread(call, *given, **options)


log = structlog.get_logger(__name__)

MAX_DETAIL_CHARACTERS = 2_000


def dead_letter(
    delivery: Delivery, *, stage: str, topic: str, reason: str, detail: str, attempts: int
) -> DeadLetter:
    """The letter for this delivery, whatever its bytes are; an original that is too large for
    the topic is represented by its head, its size and its digest.

    Args:
        stage: the service that gives up.
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
        reason=reason,
        detail=writable(detail)[:MAX_DETAIL_CHARACTERS] or reason,
        attempts=max(1, attempts),
        replays=replays,
        created_at=datetime.now(UTC),
    )


async def publish_letter(
    letter: DeadLetter, send: Callable[[bytes, bytes], Awaitable[None]]
) -> None:
    """Send a letter; when the broker takes less than the contract, only the original's head.

    Args:
        send: publishes key and value, and raises :class:`Poison` for what is too large.
    """
    key, size = DEAD_LETTERS.key(letter).encode(), len(letter.value or "")
    try:
        await send(key, await sized_call(size, encode, letter))
    except Poison as error:
        log.warning("dead_letter_truncated", letter_id=letter.letter_id, error=str(error))
        await send(key, encode(await sized_call(size, letter.shortened)))


def writable(text: str) -> str:
    """The text with what UTF-8 cannot carry (lone surrogates) escaped."""
    return text.encode(errors="backslashreplace").decode()


def prompt_of(raw: bytes | None) -> Prompt | None:
    """The prompt inside any message of the pipeline, if it is whole.

    Only a prompt whose id fits its content counts: a forged or damaged one must not settle
    the books of the prompt whose id it carries. A letter is written about bytes that have
    already failed to be read, so no error is the caller's business.
    """
    try:
        value = parse_json(raw)
        for wrapper in ("completion", "prompt"):
            value = value.get(wrapper, value) if isinstance(value, dict) else value
        return validate(Prompt, value)
    except Exception:  # noqa: BLE001 - whatever is wrong with the bytes, they hold no prompt
        return None
