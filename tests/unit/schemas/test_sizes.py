"""A dead letter is larger than what it carries, and is read all the same."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from promptmill_schemas import ContractError, DeadLetter, Prompt, decode, encode
from promptmill_schemas.dead_letter import to_base64
from promptmill_schemas.limits import MAX_DEAD_LETTER_BYTES, MAX_MESSAGE_BYTES


def test_a_dead_letter_of_the_largest_message_can_be_read() -> None:
    letter = DeadLetter(
        letter_id="ab" * 16,
        stage="instruct",
        topic="prompts",
        partition=0,
        offset=0,
        value=to_base64(b"x" * MAX_MESSAGE_BYTES),
        reason="contract_error",
        detail="too large",
        attempts=1,
        created_at=datetime.now(UTC),
    )
    raw = encode(letter)
    assert MAX_MESSAGE_BYTES < len(raw) <= MAX_DEAD_LETTER_BYTES
    assert decode(DeadLetter, raw) == letter


def test_any_other_message_of_that_size_is_refused_with_the_limit() -> None:
    with pytest.raises(ContractError, match=f"at most {MAX_MESSAGE_BYTES} bytes"):
        decode(Prompt, b" " * (MAX_MESSAGE_BYTES + 1))
