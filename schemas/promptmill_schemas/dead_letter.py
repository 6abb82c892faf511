"""A message that could not be processed, with its position and the reason."""

from __future__ import annotations

from base64 import b64decode, b64encode
from binascii import Error as Base64Error
from hashlib import blake2b
from typing import Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from promptmill_schemas.base import SCHEMA_VERSION, Contract
from promptmill_schemas.errors import ContractError
from promptmill_schemas.fields import Id, Int, OrAbsent, RunName, SmallObject, Text, Time
from promptmill_schemas.ids import ID_BYTES
from promptmill_schemas.limits import HEAD_BYTES, MAX_DEAD_LETTER_BYTES, MAX_ORIGINAL_BYTES


class DeadLetter(Contract):
    """A message that a stage could not process. It can be replayed.

    Attributes:
        letter_id: derived from topic, partition, offset and replays of the original.
        state: ``dead``, or ``replayed`` for the notice that the original was replayed.
        prompt_id: the id of the original's prompt; ``None`` if it has no valid one.
        stage: the stage that could not process the message.
        topic, partition, offset: the position of the original.
        key, value: the original's bytes in base64; ``None`` if it had none.
        headers: the known headers of the original, if it had any; they are sent with a replay.
        original_size: size of the original's value in bytes, if the dead letter keeps only the
            first 64 KiB of its key and value. The rest is at topic, partition and offset.
        original_digest: BLAKE2b-128 digest of that value, to verify it.
        reason: short class of the failure, for counting.
        detail: the error's message.
        attempts: the number of attempts.
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
    headers: OrAbsent[SmallObject[str]] = None
    original_size: Int | None = Field(default=None, ge=0)
    original_digest: Id | None = None
    reason: Text
    detail: Text
    attempts: Int = Field(ge=1)
    replays: Int = Field(default=0, ge=0)
    created_at: Time

    @model_validator(mode="after")
    def _key_and_value_are_base64(self) -> Self:
        for field, text in (("key", self.key), ("value", self.value)):
            try:
                from_base64(text)
            except (Base64Error, ValueError) as error:
                remedy = "send the bytes in base64"
                raise ContractError(field, text, "base64", remedy) from error
        return self

    @property
    def is_whole(self) -> bool:
        """Whether the dead letter carries the whole original."""
        return self.original_size is None

    def is_of(self, value: bytes | None) -> bool:
        """Return whether ``value`` is the whole value of the original, whose head is kept."""
        whole = value or b""
        return (len(whole), _digest(whole)) == (self.original_size, self.original_digest)

    def shortened(self) -> DeadLetter:
        """Return the same dead letter with only the head of its original."""
        if not self.is_whole:
            return self
        return self.model_copy(update=_head_of(self.original_key, self.original_value))

    @property
    def original_key(self) -> bytes | None:
        """The key of the original message."""
        return from_base64(self.key)

    @property
    def original_value(self) -> bytes | None:
        """The bytes of the original message, or their head."""
        return from_base64(self.value)


def to_base64(raw: bytes | None) -> str | None:
    """Encode bytes for a dead letter."""
    return None if raw is None else b64encode(raw).decode()


def from_base64(text: str | None) -> bytes | None:
    """Decode bytes of a dead letter; raise ``ValueError`` if the text is not base64."""
    return None if text is None else b64decode(text)


def original_fields(key: bytes | None, value: bytes | None) -> dict[str, Any]:
    """Return the fields of a dead letter with its original, or with its head if it is too large."""
    if len(key or b"") + len(value or b"") > MAX_ORIGINAL_BYTES:
        return _head_of(key, value)
    return {"key": to_base64(key), "value": to_base64(value)}


def _head_of(key: bytes | None, value: bytes | None) -> dict[str, Any]:
    return {
        "key": to_base64(key and key[:HEAD_BYTES]),
        "value": to_base64(value and value[:HEAD_BYTES]),
        "original_size": len(value or b""),
        "original_digest": _digest(value or b""),
    }


def _digest(value: bytes) -> str:
    return blake2b(value, digest_size=ID_BYTES).hexdigest()
