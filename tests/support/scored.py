"""Completions and scored messages in few words."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final

from promptmill_schemas import (
    AttributeScores,
    Candidate,
    Completion,
    Generator,
    Grade,
    Message,
    Prompt,
    Scored,
    Scorer,
    Timings,
)
from promptmill_schemas.ids import candidate_seed, text_digest

AT: Final = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
MIDDLING: Final = {
    "helpfulness": 3.5,
    "correctness": 3.0,
    "coherence": 3.5,
    "complexity": 1.5,
    "verbosity": 1.5,
}
TIMINGS: Final = Timings(started_at=AT, work_s=1.0)


def answer(
    text: str,
    reward: float = 4.0,
    *,
    finish: str = "stop",
    refusal: str | None = None,
    **scores: float,
) -> dict[str, Any]:
    """An answer with its reward; scores that are not given are middling."""
    return {
        "text": text,
        "reward": reward,
        "finish": finish,
        "refusal": refusal,
        "scores": AttributeScores(**{**MIDDLING, **scores}),
    }


def completion(*texts: str) -> Completion:
    """A completion with these answers, which waits for its grades."""
    prompt = Prompt.create("run", (Message(role="user", content="Name a prime."),), n=len(texts))
    return Completion(
        prompt=prompt,
        candidates=tuple(
            Candidate(
                index=index,
                text=text,
                finish_reason="stop",
                prompt_tokens=4,
                completion_tokens=1,
                seed=index,
                digest=text_digest(text),
            )
            for index, text in enumerate(texts)
        ),
        generator=Generator(engine="fake", model="fake-1"),
        timings=TIMINGS,
    )


def scored(
    *answers: dict[str, Any], ask: str = "Why is the sky blue?", run: str = "test", **prompt: Any
) -> Scored:
    """A scored message that holds these answers."""
    asked = Prompt.create(
        run, (Message(role="user", content=ask),), n=len(answers), created_at=AT, **prompt
    )
    return Scored(
        completion=Completion(
            prompt=asked,
            candidates=tuple(_candidate(asked, i, each) for i, each in enumerate(answers)),
            generator=Generator(engine="scripted", model="test"),
            timings=TIMINGS,
        ),
        grades=tuple(_grade(i, each) for i, each in enumerate(answers)),
        scorer=Scorer(engine="scripted", model="test"),
        timings=TIMINGS,
    )


def _candidate(prompt: Prompt, index: int, answer: dict[str, Any]) -> Candidate:
    return Candidate(
        index=index,
        text=answer["text"],
        finish_reason=answer["finish"],
        prompt_tokens=5,
        completion_tokens=7,
        seed=candidate_seed(prompt.prompt_id, index),
        digest=text_digest(answer["text"]),
    )


def _grade(index: int, answer: dict[str, Any]) -> Grade:
    if answer["refusal"] is not None:
        return Grade(index=index, refusal=answer["refusal"])
    return Grade(index=index, scores=answer["scores"], reward=answer["reward"])
