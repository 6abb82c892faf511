"""Dead letters: what is known of a message that a stage gives up on."""

from __future__ import annotations

from datetime import UTC, datetime

from promptmill.core.stream.ports import Delivery
from promptmill_schemas import ContractError, DeadLetter, Prompt
from promptmill_schemas.base import parse_json, validate
from promptmill_schemas.dead_letter import to_base64
from promptmill_schemas.ids import letter_id

MAX_DETAIL_CHARACTERS = 2_000


def dead_letter(
    delivery: Delivery, *, stage: str, topic: str, reason: str, detail: str, attempts: int
) -> DeadLetter:
    """The letter for this delivery.

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
        key=to_base64(delivery.key),
        value=to_base64(delivery.value),
        reason=reason,
        detail=detail[:MAX_DETAIL_CHARACTERS] or reason,
        attempts=max(1, attempts),
        replays=replays,
        created_at=datetime.now(UTC),
    )


def prompt_of(raw: bytes | None) -> Prompt | None:
    """The prompt inside any message of the pipeline, if it is whole.

    Only a prompt whose id fits its content counts: a forged or damaged one must not settle
    the books of the prompt whose id it carries.
    """
    try:
        value = parse_json(raw)
        for wrapper in ("completion", "prompt"):
            value = value.get(wrapper, value) if isinstance(value, dict) else value
        return validate(Prompt, value)
    except ContractError:
        return None
