"""Dead letters sent again: the same id, one more replay, the original before the note."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptmill.core.errors import Misconfigured, Unavailable
from promptmill.gateway.dead_letters import parse_where, replay, with_replays
from promptmill_schemas import (
    Completion,
    Contract,
    DeadLetter,
    Message,
    Prompt,
    Scored,
    decode,
    encode,
)
from promptmill_schemas.dead_letter import to_base64
from support.contracts import completions, scored


def prompt() -> Prompt:
    return Prompt.create("run", (Message(role="user", content="Why?"),))


def letter(value: bytes | None, **changes: object) -> DeadLetter:
    fields: dict[str, object] = {
        "letter_id": "ab" * 16,
        "prompt_id": "cd" * 16,
        "stage": "instruct",
        "topic": "prompts",
        "partition": 1,
        "offset": 2,
        "key": to_base64(b"the key"),
        "value": to_base64(value),
        "reason": "deadline",
        "detail": "too slow",
        "attempts": 1,
        "created_at": datetime.now(UTC),
    }
    return DeadLetter.model_validate(fields | changes)


@dataclass
class Sent:
    """Remembers what is sent."""

    messages: list[tuple[str, bytes, bytes]] = field(default_factory=list)
    takes: int = 1_000

    async def start(self) -> None: ...

    async def stop(self) -> None: ...

    async def send(self, topic: str, key: bytes, value: bytes) -> None:
        if len(self.messages) >= self.takes:
            raise Unavailable("the broker is away")
        self.messages.append((topic, key, value))


async def test_a_replay_is_noted_once_the_original_is_sent() -> None:
    sent, original = Sent(), prompt()
    assert await replay(sent, letter(encode(original), replays=1), "p.")
    (topic, key, value), (note_topic, _, note) = sent.messages
    assert (note_topic, topic, key) == ("p.dead-letters", "p.prompts", b"the key")
    assert decode(DeadLetter, note).state == "replayed"
    assert decode(Prompt, value) == original.model_copy(update={"replays": 2})


async def test_a_replay_that_is_cut_short_has_sent_the_original_or_can_be_made_again() -> None:
    """A letter noted as sent again, and not sent, would be lost: nobody would look at it."""
    for takes in (0, 1):
        sent = Sent(takes=takes)
        with pytest.raises(Unavailable):
            await replay(sent, letter(encode(prompt())), "")
        assert [topic for topic, _, _ in sent.messages] == ["prompts"][:takes]


@pytest.mark.parametrize(
    "unsendable",
    [
        letter(b"x", state="replayed"),
        letter(None),
        letter(b"x", topic="dead-letters"),
        letter(b"x", topic="a topic of yesterday"),
    ],
)
async def test_what_cannot_be_sent_again_is_left_alone(unsendable: DeadLetter) -> None:
    sent = Sent()
    assert not await replay(sent, unsendable, "")
    assert sent.messages == []


@given(message=st.one_of(completions(), scored()), replays=st.integers(1, 9))
def test_the_count_reaches_the_prompt_inside_any_message(message: Contract, replays: int) -> None:
    again = decode(type(message), with_replays(encode(message), replays))
    inner = again.completion if isinstance(again, Scored) else again
    before = message.completion if isinstance(message, Scored) else message
    assert isinstance(inner, Completion)
    assert isinstance(before, Completion)
    assert inner.prompt.replays == replays
    assert inner.prompt.prompt_id == before.prompt.prompt_id


@pytest.mark.parametrize("raw", [b"not json", b"[]", b"7", b'{"a": 1}', b"\xff"])
def test_bytes_without_a_prompt_are_sent_as_they_are(raw: bytes) -> None:
    assert with_replays(raw, 1) == raw


def test_conditions_are_field_and_value() -> None:
    assert parse_where(["run=a", "reason=deadline"]) == {"run": "a", "reason": "deadline"}
    for wrong in ("run", "colour=red", "=x"):
        with pytest.raises(Misconfigured, match="one of run, stage"):
            parse_where([wrong])
