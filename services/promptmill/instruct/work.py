"""From a prompt to a completion: every candidate is a separate request with its own seed."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Protocol

from promptmill.inference.ports import Answer, GenerateRequest, GeneratorEngine
from promptmill.inference.reasoning import KNOWN, Split, Tags, split_reasoning
from promptmill.runtime.fan_out import KeptResults
from promptmill.stream.outcome import Drop, Emit, Outcome, Outgoing
from promptmill_schemas import Candidate, Completion, Prompt, Timings
from promptmill_schemas.completion import ANSWERS_TAG, GIVEN
from promptmill_schemas.ids import candidate_seed
from promptmill_schemas.message import answer_digest
from promptmill_schemas.topics import COMPLETIONS


class TokenCounter(Protocol):
    """Receives the number of tokens."""

    def tokens(self, *, prompt: int, completion: int) -> None:
        """Count tokens that the model has processed."""


class SettledLookup(Protocol):
    """Knows which prompts have an outcome in the store."""

    def is_settled(self, prompt: Prompt) -> bool:
        """Whether no result of this prompt can become a row any more."""


class NothingSettled:
    """The answer of a worker that has no access to the store."""

    def is_settled(self, _prompt: Prompt) -> bool:
        """Return ``False``."""
        return False


class Instruct:
    """The work of an instruct worker.

    Args:
        counter: counts the tokens.
        settled: prompts that are passed over.
        now: the time, in UTC.
    """

    def __init__(
        self,
        engine: GeneratorEngine,
        counter: TokenCounter,
        settled: SettledLookup | None = None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        tags: Sequence[Tags] = KNOWN,
    ) -> None:
        self._engine = engine
        self._counter = counter
        self._settled = settled or NothingSettled()
        self._now = now
        self._tags = tags
        self._kept: KeptResults[Answer] = KeptResults()

    async def __call__(self, prompt: Prompt) -> Outcome:
        """Return the prompt with all of its answers; if one answer fails, the prompt fails.

        A prompt that is settled costs no generation.
        """
        if self._settled.is_settled(prompt):
            return Drop("settled")
        if prompt.tags.get(ANSWERS_TAG) == GIVEN:
            return Drop("answers_given")
        started_at, start = self._now(), time.monotonic()
        answers = await self._kept.all_of(
            prompt.prompt_id, prompt.n, lambda index: self._engine.generate(_request(prompt, index))
        )
        candidates = tuple(
            _candidate(prompt, i, answer, self._tags) for i, answer in enumerate(answers)
        )
        self._counter.tokens(
            prompt=candidates[0].prompt_tokens,
            completion=sum(candidate.completion_tokens for candidate in candidates),
        )
        completion = Completion(
            prompt=prompt,
            candidates=candidates,
            generator=self._engine.info.model_copy(update={"adapter": prompt.adapter}),
            timings=Timings(started_at=started_at, work_s=time.monotonic() - start),
        )
        return Emit((Outgoing(COMPLETIONS, completion),))


def _request(prompt: Prompt, index: int) -> GenerateRequest:
    return GenerateRequest(
        request_id=f"{prompt.prompt_id}-{index}",
        messages=prompt.messages,
        sampling=prompt.sampling,
        seed=candidate_seed(prompt.prompt_id, index),
        adapter=prompt.adapter,
        tools=prompt.tools,
        chat_template_kwargs=prompt.chat_template_kwargs,
        extra_body=prompt.extra_body,
    )


def _candidate(prompt: Prompt, index: int, answer: Answer, tags: Sequence[Tags]) -> Candidate:
    """The candidate; inline reasoning is split off if the engine has not done it."""
    split = Split(answer.text, answer.reasoning_content)
    if split.reasoning is None:
        split = split_reasoning(answer.text, tags)
    return Candidate(
        index=index,
        text=split.answer,
        finish_reason=answer.finish_reason,
        prompt_tokens=answer.prompt_tokens,
        completion_tokens=answer.completion_tokens,
        seed=candidate_seed(prompt.prompt_id, index),
        digest=answer_digest(split.answer, answer.tool_calls),
        tool_calls=answer.tool_calls,
        reasoning_content=split.reasoning,
        reasoning_tokens=answer.reasoning_tokens,
        logprob=answer.logprob,
    )
