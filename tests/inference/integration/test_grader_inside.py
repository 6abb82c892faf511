"""A grader in real vLLM inside this process, held against transformers' own forward pass."""

from __future__ import annotations

import asyncio

import pytest

from promptmill.inference.ports import GradeRequest
from promptmill.inference.vllm.grade import VllmGrader
from promptmill.runtime.errors import Poison
from promptmill_demo.models.demo import DemoModels
from promptmill_schemas import ATTRIBUTES, AttributeScores, Message

pytestmark = [
    pytest.mark.vllm,
    pytest.mark.filterwarnings("ignore"),
    pytest.mark.asyncio(loop_scope="module"),
]

CONVERSATIONS = [
    ((Message(role="user", content="What is 7 times 8?"),), "56"),
    ((Message(role="user", content="What is 7 times 8?"),), "It is 54, I think."),
    (
        (
            Message(role="system", content="Be brief."),
            Message(role="user", content="Hello!"),
            Message(role="assistant", content="Good day."),
            Message(role="user", content="Why is the sky blue?"),
        ),
        "The air scatters blue light more than red light. " * 20,
    ),
    ((Message(role="user", content="¿Qué tal? 你好"),), ""),
]


def reference_scores(demo_models: DemoModels) -> list[AttributeScores]:
    """What transformers computes, in the order of the conversations."""
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(demo_models.reward)
    model = AutoModelForSequenceClassification.from_pretrained(
        demo_models.reward, dtype=torch.float32
    )
    scores = []
    for messages, answer in CONVERSATIONS:
        turns = [{"role": m.role, "content": m.content} for m in messages]
        turns.append({"role": "assistant", "content": answer})
        ids = tokenizer.apply_chat_template(turns, return_tensors="pt", return_dict=True)
        with torch.no_grad():
            logits = model(**ids).logits[0].tolist()
        named = {model.config.id2label[index]: logit for index, logit in enumerate(logits)}
        scores.append(AttributeScores(**named))
    return scores


async def test_the_five_scores_are_the_raw_outputs_by_name(
    grader: VllmGrader, demo_models: DemoModels
) -> None:
    requests = [GradeRequest(f"r{i}", *c) for i, c in enumerate(CONVERSATIONS)]
    graded = await asyncio.gather(*map(grader.grade, requests))
    for scores, expected in zip(graded, reference_scores(demo_models), strict=True):
        for name in ATTRIBUTES:
            assert getattr(scores, name) == pytest.approx(getattr(expected, name), abs=1e-3)


async def test_answers_get_different_scores_in_every_attribute(grader: VllmGrader) -> None:
    messages = CONVERSATIONS[0][0]
    answers = [f"The answer is {number}, because I say so." for number in range(20)]
    graded = await asyncio.gather(
        *(grader.grade(GradeRequest(answer, messages, answer)) for answer in answers)
    )
    for name in ATTRIBUTES:
        values = [getattr(scores, name) for scores in graded]
        assert max(values) - min(values) > 0.1
        assert any(not 0 <= value <= 1 for value in values), "raw outputs, not probabilities"


async def test_it_says_what_it_is(grader: VllmGrader) -> None:
    assert (grader.info.engine, grader.info.model) == ("vllm", "demo-reward")
    assert grader.context_tokens == 4096


async def test_a_conversation_longer_than_the_context_is_refused_not_cut(
    grader: VllmGrader,
) -> None:
    request = GradeRequest("long", CONVERSATIONS[0][0], "one two three " * 4000)
    with pytest.raises(Poison, match=r"messages have \d+ tokens, the model's context holds 4096"):
        await grader.grade(request)


async def test_a_conversation_as_long_as_the_context_is_graded(grader: VllmGrader) -> None:
    filler = grader._model.renderer
    answer = "one" + " one" * 4040
    assert 4000 < len(await filler.render(CONVERSATIONS[0][0], answer)) <= 4096
    scores = await grader.grade(GradeRequest("long", CONVERSATIONS[0][0], answer))
    assert scores.helpfulness == pytest.approx(scores.helpfulness)
