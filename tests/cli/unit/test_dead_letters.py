"""Dead letters sent again: the same id, one more replay, the original before the note."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptmill.cli.dead_letters import parse_where, replay, with_replays
from promptmill.runtime.errors import Misconfigured, Poison, Unavailable
from promptmill.stream.ports import Delivery, Partition
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
from promptmill_schemas.dead_letter import original_fields, to_base64
from promptmill_schemas.headers import Headers
from promptmill_schemas.limits import HEAD_BYTES, MAX_ORIGINAL_BYTES
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

    async def send(self, topic: str, key: bytes, value: bytes, headers: Headers = ()) -> None:
        if len(self.messages) >= self.takes:
            raise Unavailable("the broker is away")
        self.messages.append((topic, key, value))


async def gone(_partition: Partition, _offset: int) -> Delivery | None:
    """A log that holds nothing any more."""
    return None


def huge() -> bytes:
    """A prompt whose message does not fit into a dead letter."""
    return encode(prompt()) + b" " * MAX_ORIGINAL_BYTES


def head_of(key: bytes, value: bytes) -> DeadLetter:
    """The letter that such a message leaves."""
    return DeadLetter.model_validate(letter(None).model_dump() | original_fields(key, value))


async def test_a_letter_with_the_head_of_its_original_sends_what_the_topic_still_holds() -> None:
    sent, original = Sent(), huge()
    asked = []

    async def log(partition: Partition, offset: int) -> Delivery | None:
        asked.append((partition, offset))
        return Delivery(partition, offset, b"the whole key", original)

    head = head_of(b"k" * 2 * HEAD_BYTES, original)
    assert await replay(sent, head, "p.", log)
    assert asked == [(Partition("p.prompts", 1), 2)]
    (topic, key, value), (note_topic, _, note) = sent.messages
    assert (topic, key, value) == ("p.prompts", b"the whole key", original)
    assert (note_topic, decode(DeadLetter, note).state) == ("p.dead-letters", "replayed")


@pytest.mark.parametrize("value", [None, b"another message"])
async def test_a_head_is_never_sent_in_place_of_its_original(value: bytes | None) -> None:
    async def log(partition: Partition, offset: int) -> Delivery | None:
        return None if value is None else Delivery(partition, offset, b"key", value)

    sent, head = Sent(), head_of(b"key", huge())
    with pytest.raises(Poison, match="publish the prompt again from its source"):
        await replay(sent, head, "p.", log)
    assert sent.messages == []


async def test_a_replay_is_noted_once_the_original_is_sent() -> None:
    sent, original = Sent(), prompt()
    assert await replay(sent, letter(encode(original), replays=1), "p.", gone)
    (topic, key, value), (note_topic, _, note) = sent.messages
    assert (note_topic, topic, key) == ("p.dead-letters", "p.prompts", b"the key")
    assert decode(DeadLetter, note).state == "replayed"
    assert decode(Prompt, value) == original.model_copy(update={"replays": 2})


async def test_a_replay_that_is_cut_short_has_sent_the_original_or_can_be_made_again() -> None:
    """A letter noted as sent again, and not sent, would be lost: nobody would look at it."""
    for takes in (0, 1):
        sent = Sent(takes=takes)
        with pytest.raises(Unavailable):
            await replay(sent, letter(encode(prompt())), "", gone)
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
    assert not await replay(sent, unsendable, "", gone)
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
