"""Answers that rows hold become completions, sent before their prompts."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import pytest

from promptmill.cli.publish.answers import AnswersFirst, completion_of, with_prompt
from promptmill.cli.publish.files.splitting import RawLine
from promptmill.cli.publish.layouts.reading import RowReader
from promptmill.cli.publish.lines import Defaults, prompt_of
from promptmill.cli.publish.outbox import BATCH_BYTES, Outbox
from promptmill.cli.publish.ports import LineResult
from promptmill.cli.publish.publisher import Publisher
from promptmill.runtime.errors import Unavailable
from promptmill.stream.ports import Message
from promptmill_schemas import Completion, ContractError, Prompt, decode, encode
from promptmill_schemas.completion import ANSWERS_TAG, GIVEN
from promptmill_schemas.headers import Headers
from promptmill_schemas.ids import candidate_seed

USER = {"role": "user", "content": "Q"}
READER = RowReader(wants_answers=True)


def read(row: dict[str, Any]) -> tuple[Prompt, Completion]:
    completion = completion_of(READER.take(row), Defaults("run", n=3))
    assert decode(Completion, encode(completion)) == completion
    return completion.prompt, completion


def texts(row: dict[str, Any]) -> list[str]:
    return [candidate.text for candidate in read(row)[1].candidates]


@pytest.mark.parametrize(
    ("row", "answers"),
    [
        ({"prompt": "Q", "answers": ["A", "B"]}, ["A", "B"]),
        ({"prompt": "Q", "answers": [{"text": "A"}, {"content": "B"}]}, ["A", "B"]),
        ({"messages": [USER, {"role": "assistant", "content": "A"}]}, ["A"]),
        (
            {"conversations": [{"from": "human", "value": "Q"}, {"from": "gpt", "value": "A"}]},
            ["A"],
        ),
        ({"instruction": "Q", "output": "A"}, ["A"]),
        ({"prompt": "Q", "completion": "A"}, ["A"]),
        (
            {
                "prompt": "Q",
                "chosen": [USER, {"role": "assistant", "content": "A"}],
                "rejected": "B",
            },
            ["A", "B"],
        ),
        (
            {"prompt": "Q", "response_1": "A", "response_2": "B", "preference_strength": 1},
            ["A", "B"],
        ),
        ({"prompt": "Q", "response": "A", "helpfulness": 3}, ["A"]),
    ],
    ids=str,
)
def test_the_answers_of_every_layout_are_found(row: dict[str, Any], answers: list[str]) -> None:
    assert texts(row) == answers
    prompt, completion = read(row)
    assert [message.content for message in prompt.messages] == ["Q"]
    assert prompt.n == len(answers)
    assert prompt.tags[ANSWERS_TAG] == GIVEN
    assert completion.generator.engine == "given"


def test_reasoning_reasons_and_the_model_are_kept() -> None:
    answers = [{"text": "<think>\nHm.\n</think>\n\nA", "finish_reason": "length"}]
    (candidate,) = read({"prompt": "Q", "answers": answers})[1].candidates
    assert (candidate.reasoning_content, candidate.text) == ("Hm.", "A")
    assert candidate.finish_reason == "length"
    row = {"uuid": "u", "generator": "m", "messages": [USER, {"role": "assistant", "content": "A"}]}
    prompt, completion = read(row)
    assert completion.generator.model == "m"
    assert prompt.tags["custom_id"] == "u"


def test_other_answers_to_the_same_prompt_have_another_id() -> None:
    one, other = (read({"prompt": "Q", "answers": [text]})[0] for text in "AB")
    assert one.prompt_id == other.prompt_id
    assert one.tags["custom_id"] != other.tags["custom_id"]
    assert read({"prompt": "Q", "answers": ["A"]})[0].tags == one.tags


def test_a_draw_has_its_own_seeds() -> None:
    prompt, completion = read({"prompt": "Q", "answers": ["A"]})
    draw = Prompt.create("run", prompt.messages, draw=1)
    assert with_prompt(completion, draw).candidates[0].seed == candidate_seed(draw.prompt_id, 0)


@pytest.mark.parametrize(
    ("row", "field"),
    [
        ({"prompt": "Q"}, "answers"),
        ({"question": "Q", "answer": "4"}, "answers"),
        ({"prompt": "Q", "answers": [7]}, "answers.0"),
        ({"prompt": "Q", "answers": [""]}, "answers.0.content"),
        ({"prompt": "", "answers": ["A"]}, "prompt"),
    ],
)
def test_a_row_without_a_usable_answer_is_refused(row: dict[str, Any], field: str) -> None:
    with pytest.raises(ContractError) as caught:
        read(row)
    assert caught.value.field == field


def test_the_tag_of_given_answers_is_not_taken_from_rows() -> None:
    with pytest.raises(ContractError, match="remove the tag"):
        prompt_of({"prompt": "Q", "tags": {ANSWERS_TAG: GIVEN}}, Defaults("run"))


class FakeSender:
    """Keeps what is sent, by topic."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, list[bytes]]] = []
        self.failing: set[str] = set()

    async def start(self) -> None: ...
    async def stop(self) -> None: ...
    async def send(self, topic: str, key: bytes, value: bytes, headers: Headers = ()) -> None: ...

    async def partitioner(self, topic: str) -> Callable[[bytes], int]:
        raise NotImplementedError

    async def send_batch(self, topic: str, partition: int, messages: Sequence[Message]) -> None:
        if topic in self.failing:
            raise Unavailable("no")
        self.sent.append((topic, [message.key for message in messages]))


async def test_answers_are_sent_before_their_prompts_in_batches_that_fit() -> None:
    sender = FakeSender()
    first = AnswersFirst(sender, "completions")
    for name in "abc":
        first.keep(Message(name.encode(), b"x" * (BATCH_BYTES // 2)))
    await first.send_batch("prompts", 0, [Message(name, b"1") for name in (b"a", b"b", b"c")])
    assert sender.sent == [
        ("completions", [b"a"]),
        ("completions", [b"b"]),
        ("completions", [b"c"]),
        ("prompts", [b"a", b"b", b"c"]),
    ]


async def test_what_failed_is_sent_again_whole() -> None:
    sender = FakeSender()
    first = AnswersFirst(sender, "completions")
    first.keep(Message(b"a", b"x"))
    sender.failing = {"prompts"}
    with pytest.raises(Unavailable):
        await first.send_batch("prompts", 0, [Message(b"a", b"1")])
    sender.failing = set()
    await first.send_batch("prompts", 0, [Message(b"a", b"1")])
    assert [topic for topic, _ in sender.sent] == ["completions", "completions", "prompts"]


class Nothing(set[str]):
    """No prompt is published yet."""

    async def look_up(self, _ids: Sequence[str]) -> None: ...

    def add(self, prompt_id: str) -> bool:  # type: ignore[override]
        is_new = prompt_id not in self
        super().add(prompt_id)
        return is_new


async def one_batch(*rows: dict[str, Any]) -> AsyncIterator[list[RawLine]]:
    yield [RawLine(number, row) for number, row in enumerate(rows, start=1)]


async def test_rows_with_answers_are_published_once_each_and_reported() -> None:
    sender, results = FakeSender(), list[LineResult]()
    outbox = Outbox(sender, "prompts", lambda _: 0, answers=AnswersFirst(sender, "completions"))
    publisher = Publisher(outbox, Defaults("run"), Nothing(), results.append, reader=READER)
    rows = [{"prompt": "Q", "answers": [text]} for text in ("A", "B", "A")]
    await publisher.publish(one_batch(*rows, {"prompt": "Q"}))
    assert [r.outcome for r in results] == ["published", "published", "duplicate", "invalid"]
    (first, completions), (second, prompts) = sender.sent
    assert (first, second) == ("completions", "prompts")
    assert completions == prompts
    assert len(prompts) == 2
