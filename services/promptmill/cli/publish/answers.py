"""Publishing prompts that already have answers, which are graded and filtered.

The answers are sent to the topic of completions first, and then the prompt to the topic of prompts,
where it is counted like any other. After an interruption between the two, both are sent again, and
the filter drops the second completion.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from pydantic import ValidationError

from promptmill.cli.counts import CUSTOM_ID
from promptmill.cli.publish.layouts.plain import Taken
from promptmill.cli.publish.lines import Defaults, prompt_from
from promptmill.cli.publish.outbox import BATCH_BYTES, MESSAGE_OVERHEAD_BYTES
from promptmill.stream.ports import BatchSender, Message
from promptmill_schemas import Candidate, Completion, ContractError, Generator, Prompt, Timings, ids
from promptmill_schemas.base import contract_error
from promptmill_schemas.completion import ANSWERS_TAG, GIVEN
from promptmill_schemas.errors import MISSING
from promptmill_schemas.headers import Headers
from promptmill_schemas.message import Message as Turn
from promptmill_schemas.message import answer_digest

ENGINE: Final = "given"
STOP: Final = "stop"
_REASONING: Final = re.compile(r"\s*<think>(.*?)</think>\s*(.*)", re.DOTALL)


def completion_of(taken: Taken, defaults: Defaults) -> Completion:
    """Return the prompt of a row with its answers, or raise :class:`ContractError`.

    Rows with different answers to the same prompt are separate draws: if a row has no id of its
    own, one is derived from its content and its answers.
    """
    if not taken.answers:
        remedy = "give a list of answers, or end the conversation with one"
        raise ContractError("answers", MISSING, "--answers needs an answer in each row", remedy)
    turns = [_turn(number, answer) for number, answer in enumerate(taken.answers)]
    fields = {**taken.fields, "n": len(turns)}
    prompt = prompt_from(Taken(fields, taken.names, taken.findings), defaults)
    digests = [answer_digest(turn.content, turn.tool_calls) for turn in turns]
    own = ids.digest("answers", prompt.prompt_id, digests)
    tags = {CUSTOM_ID: own, **prompt.tags, ANSWERS_TAG: GIVEN}
    prompt = prompt.model_copy(update={"tags": tags})
    return _completion(prompt, turns, taken)


def with_prompt(completion: Completion, prompt: Prompt) -> Completion:
    """Return the completion for this draw of its prompt."""
    candidates = tuple(
        each.model_copy(update={"seed": ids.candidate_seed(prompt.prompt_id, each.index)})
        for each in completion.candidates
    )
    return completion.model_copy(update={"prompt": prompt, "candidates": candidates})


def _turn(number: int, answer: Any) -> Turn:
    """Convert an answer to a turn of the assistant, with its reasoning as a separate field."""
    field = f"answers.{number}"
    if not isinstance(answer, dict) or not isinstance(answer.get("content", ""), str):
        limit = "an answer is a text, or an object with a text"
        raise ContractError(field, answer, limit, 'write "…" or {"text": "…"}')
    found = _REASONING.fullmatch(answer.get("content", ""))
    if found is not None and "reasoning_content" not in answer:
        answer = {**answer, "reasoning_content": found[1].strip(), "content": found[2]}
    try:
        return Turn.model_validate({"role": "assistant", **answer})
    except ValidationError as error:
        wrong = contract_error(error)
        raise wrong.renamed(f"{field}.{wrong.field}") from error


def _completion(prompt: Prompt, turns: Sequence[Turn], taken: Taken) -> Completion:
    candidates = tuple(
        Candidate(
            index=index,
            text=turn.content,
            finish_reason=(turn.model_extra or {}).get("finish_reason") or STOP,
            prompt_tokens=0,
            completion_tokens=0,
            seed=ids.candidate_seed(prompt.prompt_id, index),
            digest=answer_digest(turn.content, turn.tool_calls),
            reasoning_content=turn.reasoning_content,
            tool_calls=turn.tool_calls,
        )
        for index, turn in enumerate(turns)
    )
    return Completion(
        prompt=prompt,
        candidates=candidates,
        generator=Generator(engine=ENGINE, model=taken.model or ENGINE),
        timings=Timings(started_at=datetime.now(UTC), work_s=0.0),
    )


class AnswersFirst:
    """A sender that sends the answers to prompts before the prompts themselves.

    Args:
        sender: the sender for both.
        topic: the topic of completions.
    """

    def __init__(self, sender: BatchSender, topic: str) -> None:
        self._sender = sender
        self._topic = topic
        self._answers: dict[bytes, Message] = {}

    def keep(self, completion: Message) -> None:
        """Keep the completion until the prompt with the same key is sent."""
        self._answers[completion.key] = completion

    async def start(self) -> None:
        """Do nothing; the sender's owner starts it."""

    async def stop(self) -> None:
        """Do nothing; the sender's owner stops it."""

    async def send(self, topic: str, key: bytes, value: bytes, headers: Headers = ()) -> None:
        """Send one message that has no answers."""
        await self._sender.send(topic, key, value, headers)

    async def partitioner(self, topic: str) -> Callable[[bytes], int]:
        """Return the function from keys to partitions, which is the same for both topics."""
        return await self._sender.partitioner(topic)

    async def send_batch(self, topic: str, partition: int, messages: Sequence[Message]) -> None:
        """Send the answers of all messages and then the messages; raise as the sender does."""
        for batch in _batches([self._answers[message.key] for message in messages]):
            await self._sender.send_batch(self._topic, partition, batch)
        await self._sender.send_batch(topic, partition, messages)
        for message in messages:
            self._answers.pop(message.key, None)


def _batches(messages: Sequence[Message]) -> Iterator[list[Message]]:
    """Split messages into batches that the producer accepts."""
    batch: list[Message] = []
    size = 0
    for message in messages:
        more = message.size + MESSAGE_OVERHEAD_BYTES
        if batch and size + more > BATCH_BYTES:
            yield batch
            batch, size = [], 0
        batch.append(message)
        size += more
    if batch:
        yield batch
