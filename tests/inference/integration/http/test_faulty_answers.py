"""Three prompts in ten meet a faulty answer, of fifteen kinds: what is kept, and what it costs.

``PROMPTMILL_TEST_FAULTY_PROMPTS=2000`` sets the number of prompts.
"""

from __future__ import annotations

import os
from collections import Counter
from typing import Any

import pytest

from promptmill.filter.policy import Policy
from promptmill.instruct.work import Instruct
from promptmill.stream.settings import LoopSettings
from promptmill.testing.broker import MemoryBroker
from promptmill_schemas import (
    AttributeScores,
    Completion,
    DeadLetter,
    GradedCandidate,
    Message,
    Prompt,
    decode,
    encode,
)
from promptmill_schemas.topics import COMPLETIONS, DEAD_LETTERS, PROMPTS
from support.bad_answers import Behaviour, chat, cut, raw, refused_as, status
from support.bad_server import BadServer, Call
from support.engines import NoCounter
from support.http_engines import generating
from support.streams import run_stage

NUMBER = int(os.environ.get("PROMPTMILL_TEST_FAULTY_PROMPTS", "300"))
MOST_PAID = 1.5
"""Most answers that may be paid, as a multiple of the least possible, which is one a prompt."""

SETTINGS = LoopSettings(slots=64, backoff_initial_s=0.01, backoff_max_s=0.1)
GOOD = "The sum of two and two is four."
HALF = "The sum of"

PASSING: dict[str, Behaviour] = {
    "abort": chat(HALF, finish_reason="abort"),
    "error": chat(HALF, finish_reason="error"),
    "no-resources": chat(HALF, finish_reason="insufficient_system_resource"),
    "no-end": chat(HALF, finish_reason=None),
    "odd-end": chat(HALF, finish_reason="done"),
    "choice-error": chat(HALF, finish_reason="error", error={"code": 502, "message": "died"}),
    "object-error": raw(b'{"object": "error", "message": "died", "code": 50001}'),
    "html": raw(b"<html>Bad gateway</html>", "text/html"),
    "cut": cut(b'{"choices": [{"mess'),
    "crash": status(500, "boom"),
}
"""Faults that only the first answer to a prompt has."""

OUTCOMES: dict[str, Behaviour] = {
    "content-filter": chat(HALF, finish_reason="content_filter"),
    "prompt-filter": refused_as("content_filter"),
    "refusal": chat(None, message={"role": "assistant", "content": None, "refusal": "No."}),
    "cut-off": chat(HALF, finish_reason="model_length"),
    "tool": chat(None, finish_reason="tool_calls"),
}
"""Answers that the server gives deliberately and each time."""

HOPELESS: dict[str, Behaviour] = {
    "wrong": status(422, "no"),
    "never-ends": chat(HALF, finish_reason="abort"),
}
"""Faults that each answer to a prompt has."""

KINDS = [*PASSING, *OUTCOMES]
HOPELESS_EVERY = 100


def kind_of(number: int) -> str:
    """The kind of a prompt's answers: three in ten are faulty, one in a hundred is hopeless."""
    if number % HOPELESS_EVERY == 0:
        return list(HOPELESS)[number // HOPELESS_EVERY % len(HOPELESS)]
    return KINDS[number // 10 % len(KINDS)] if number % 10 in {1, 4, 7} else "fine"


def server() -> BadServer:
    """A server that answers a prompt as the first word of the prompt says."""
    failed: set[str] = set()

    def behave(call: Call) -> Behaviour:
        kind = call.said.split(" ", 1)[0]
        if kind in PASSING and call.said not in failed:
            failed.add(call.said)
            return PASSING[kind]
        return (OUTCOMES | HOPELESS).get(kind, chat(GOOD))

    return BadServer(behave)


def publish(broker: MemoryBroker) -> Counter[str]:
    """The prompts; returns how many there are of each kind."""
    kinds: Counter[str] = Counter()
    for number in range(NUMBER):
        kind = kind_of(number)
        kinds[kind] += 1
        prompt = Prompt.create("run", (Message(role="user", content=f"{kind} {number}"),))
        broker.append(PROMPTS.name, prompt.prompt_id.encode(), encode(prompt))
    return kinds


async def answer_all(broker: MemoryBroker, work: Instruct) -> None:
    """Run the stage until each prompt has an end."""
    await run_stage(broker, work, PROMPTS, COMPLETIONS, settings=SETTINGS, within_s=800)


def read(broker: MemoryBroker, contract: type[Any], topic: str) -> list[Any]:
    return [decode(contract, delivery.value) for delivery in broker.topic(topic)]


def passes(completion: Completion) -> bool:
    """Whether a policy without limits accepts the answer."""
    (candidate,) = completion.candidates
    scores = AttributeScores(helpfulness=4, correctness=4, coherence=4, complexity=1, verbosity=1)
    fields = {
        name: getattr(candidate, name)
        for name in GradedCandidate.model_fields
        if hasattr(candidate, name)
    }
    graded = GradedCandidate(**fields, scores=scores, reward=1.0)
    return not Policy(limits={}).failed(graded, None)


@pytest.mark.slow
@pytest.mark.timeout(900)
async def test_nothing_is_lost_or_doubled_and_little_is_paid_twice() -> None:
    broker = MemoryBroker()
    kinds = publish(broker)
    async with server() as bad, generating(bad, concurrency=64) as engine:
        await answer_all(broker, Instruct(engine, NoCounter()))
        calls = [call for call in bad.calls if "Are you there?" not in str(call.body["messages"])]
    done = read(broker, Completion, COMPLETIONS.name)
    letters = read(broker, DeadLetter, DEAD_LETTERS.name)
    hopeless = sum(kinds[kind] for kind in HOPELESS)
    ends = [one.prompt.prompt_id for one in done] + [letter.prompt_id for letter in letters]
    assert len(set(ends)) == len(ends) == NUMBER
    assert len(letters) == hopeless
    asked = {one.prompt.messages[0].content.split(" ")[0] for one in done if passes(one)}
    assert asked <= {"fine", *PASSING}
    accepted = [one for one in done if passes(one)]
    assert {candidate.text for one in accepted for candidate in one.candidates} == {GOOD}
    assert len(accepted) == NUMBER - hopeless - sum(kinds[kind] for kind in OUTCOMES)
    assert len(calls) <= MOST_PAID * NUMBER
