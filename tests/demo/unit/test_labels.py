"""Labels follow from text and truth, in the direction that their names say."""

from __future__ import annotations

import pytest

from promptmill_demo.tasks import demo_tasks
from promptmill_demo.tasks.chance import seeded
from promptmill_demo.tasks.corruptions import Examples
from promptmill_demo.tasks.labels import HIGHEST, label
from promptmill_schemas import ATTRIBUTES

TAGS = {"family": "open_qa", "kind": "capital", "subject": "France", "answer": "Paris"}
CLEAN = "The capital of France is Paris."
WRONG = "The capital of France is Rome."
RAMBLING = "um The capital er capital of France well is is Paris..."
REASONED = "A capital is the city where the government sits, so for France that city is Paris."


def test_a_clean_right_answer_is_helpful_correct_and_coherent() -> None:
    scores = label(CLEAN, TAGS)
    assert scores.helpfulness > 3.5
    assert scores.correctness == scores.coherence == HIGHEST


def test_a_wrong_answer_is_coherent_and_still_not_helpful() -> None:
    scores = label(WRONG, TAGS)
    assert scores.correctness == 0
    assert scores.coherence == HIGHEST
    assert scores.helpfulness < 1


def test_rambling_costs_coherence_and_helpfulness_but_not_correctness() -> None:
    scores = label(RAMBLING, TAGS)
    assert scores.correctness == HIGHEST
    assert scores.coherence < 1
    assert scores.helpfulness < 3


def test_a_hedge_is_worth_less_than_an_answer_and_more_than_a_mistake() -> None:
    hedged = label("Paris or Rome.", TAGS).correctness
    assert label(WRONG, TAGS).correctness < hedged < label(CLEAN, TAGS).correctness


def test_a_reason_is_complex_and_padding_is_only_verbose() -> None:
    padded = f"Let me answer that. {CLEAN} Feel free to ask me about anything else."
    assert label(REASONED, TAGS).complexity > label(padded, TAGS).complexity + 1
    assert label(padded, TAGS).verbosity > label(CLEAN, TAGS).verbosity + 1


@pytest.mark.parametrize("text", ["", " ", "...", "\n"])
def test_an_answer_without_words_scores_nothing(text: str) -> None:
    assert set(label(text, TAGS).model_dump().values()) == {0.0}


def test_examples_of_the_grader_vary_in_all_five_attributes_and_stay_in_range() -> None:
    tasks = demo_tasks(50)
    examples = Examples(tasks, seeded(3))
    labels = [label(examples.answer(task), task.tags) for task in tasks * 4]
    for name in ATTRIBUTES:
        values = [getattr(scores, name) for scores in labels]
        assert min(values) >= 0
        assert max(values) <= HIGHEST
        assert max(values) - min(values) > 2.5, name
    right = sum(scores.correctness == HIGHEST for scores in labels) / len(labels)
    assert 0.4 < right < 0.65
