"""A dead letter is larger than what it carries, and is read all the same."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from promptmill_schemas import ContractError, DeadLetter, Prompt, decode, encode
from promptmill_schemas.dead_letter import original_fields, to_base64
from promptmill_schemas.limits import (
    HEAD_BYTES,
    MAX_DEAD_LETTER_BYTES,
    MAX_MESSAGE_BYTES,
    MAX_ORIGINAL_BYTES,
)


def letter_of(key: bytes | None, value: bytes | None) -> DeadLetter:
    """The letter of a message that was too large."""
    return DeadLetter(
        letter_id="ab" * 16,
        stage="instruct",
        topic="prompts",
        partition=0,
        offset=0,
        **original_fields(key, value),
        reason="contract_error",
        detail="too large",
        attempts=1,
        created_at=datetime.now(UTC),
    )


def test_a_dead_letter_of_the_largest_message_can_be_read() -> None:
    letter = letter_of(None, b"x" * MAX_MESSAGE_BYTES)
    assert letter.is_whole
    raw = encode(letter)
    assert MAX_MESSAGE_BYTES < len(raw) <= MAX_DEAD_LETTER_BYTES
    assert decode(DeadLetter, raw) == letter


def test_any_other_message_of_that_size_is_refused_with_the_limit() -> None:
    with pytest.raises(ContractError, match=f"at most {MAX_MESSAGE_BYTES} bytes"):
        decode(Prompt, b" " * (MAX_MESSAGE_BYTES + 1))


@pytest.mark.parametrize("size", [MAX_ORIGINAL_BYTES, MAX_ORIGINAL_BYTES + 1, 100_000_000])
def test_a_letter_of_any_original_fits_its_topic(size: int) -> None:
    value = b"[" * size
    letter = letter_of(None, value)
    raw = encode(letter)
    assert len(raw) < MAX_DEAD_LETTER_BYTES - HEAD_BYTES
    assert letter.is_whole == (size <= MAX_ORIGINAL_BYTES)
    assert (letter.original_value or b"")[:HEAD_BYTES] == value[:HEAD_BYTES]
    if not letter.is_whole:
        assert letter.original_size == size
        assert letter.is_of(value)
        assert not letter.is_of(value[:-1] + b"]")
        assert len(raw) < 2 * HEAD_BYTES
    assert decode(DeadLetter, raw) == letter


def test_a_large_key_does_not_make_a_letter_too_large() -> None:
    letter = letter_of(b"k" * 2 * MAX_ORIGINAL_BYTES, None)
    assert not letter.is_whole
    assert len(encode(letter)) < 2 * HEAD_BYTES
    assert letter.is_of(None)


def test_a_letter_that_holds_no_base64_is_refused() -> None:
    raw = encode(letter_of(None, b"x" * 10)).replace(str(to_base64(b"x" * 10)).encode(), b"x")
    with pytest.raises(ContractError, match="value is 'x': base64"):
        decode(DeadLetter, raw)
