"""A message that could not be processed: its bytes, where it stood, and why it failed."""

from __future__ import annotations

from base64 import b64decode, b64encode
from typing import ClassVar, Literal

from pydantic import Field

from promptmill_schemas.base import SCHEMA_VERSION, Contract
from promptmill_schemas.fields import Time
from promptmill_schemas.limits import MAX_DEAD_LETTER_BYTES
from promptmill_schemas.prompt import Id, Int, RunName, Text


class DeadLetter(Contract):
    """What a stage gave up on; it can be sent again from here.

    Attributes:
        letter_id: derived from topic, partition, offset and replays of the original.
        state: ``dead``, or ``replayed`` for the note that the original was sent again.
        prompt_id: of the original, ``None`` when its bytes held none.
        stage: the service that gave up.
        topic, partition, offset: where the original stands.
        key, value: the original's bytes in base64; ``None`` where it had none.
        reason: short class of the failure, for counting.
        detail: the error's message.
        attempts: how often the stage tried.
    """

    max_bytes: ClassVar[int] = MAX_DEAD_LETTER_BYTES

    schema_version: Literal[1] = SCHEMA_VERSION
    letter_id: Id
    state: Literal["dead", "replayed"] = "dead"
    prompt_id: Id | None = None
    run: RunName | None = None
    stage: Text
    topic: Text
    partition: Int = Field(ge=0)
    offset: Int = Field(ge=0)
    key: str | None = None
    value: str | None = None
    reason: Text
    detail: Text
    attempts: Int = Field(ge=1)
    replays: Int = Field(default=0, ge=0)
    created_at: Time

    @property
    def original_key(self) -> bytes | None:
        """The key of the original message."""
        return None if self.key is None else b64decode(self.key)

    @property
    def original_value(self) -> bytes | None:
        """The bytes of the original message."""
        return None if self.value is None else b64decode(self.value)


def to_base64(raw: bytes | None) -> str | None:
    """The form in which a dead letter carries bytes."""
    return None if raw is None else b64encode(raw).decode()
