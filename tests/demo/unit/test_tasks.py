"""Tasks, and what counts as a right answer to them."""

from __future__ import annotations

from collections import Counter

import pytest

from promptmill_demo.tasks import (
    FAMILIES,
    Finding,
    Split,
    Task,
    all_tasks,
    demo_tasks,
    find_answer,
    is_correct,
    load_kinds,
)
from promptmill_demo.tasks.answers import STYLES, write
from promptmill_demo.tasks.chance import seeded
from promptmill_demo.tasks.words import fill
from promptmill_schemas.limits import MAX_TAG_CHARACTERS


def task_of(kind_name: str, answer: str) -> Task:
    """The first task of that kind with that answer."""
    kind = load_kinds()[kind_name]
    fact = next(fact for fact in kind.facts if fact.answer == answer)
    return Task(kind, fact, kind.questions[0])


def test_a_right_answer_is_right_and_a_mistake_is_wrong_in_every_style() -> None:
    draws = seeded(1)
    for kind in load_kinds().values():
        for fact in draws.sample(kind.facts, min(len(kind.facts), 24)):
            task = Task(kind, fact, kind.questions[0])
            for style in STYLES:
                right = write(task, fact.answer, style, draws)
                assert is_correct(right, task.tags), (task.tags, right)
                for mistake in kind.mistakes(fact)[:6]:
                    wrong = write(task, mistake, style, draws)
                    assert not is_correct(wrong, task.tags), (task.tags, wrong)


@pytest.mark.parametrize(
    ("text", "finding"),
    [
        ("Paris", Finding.RIGHT),
        ("The capital of France is Paris.", Finding.RIGHT),
        ("um It er is is Paris Paris...", Finding.RIGHT),
        ("Paris or Rome.", Finding.HEDGED),
        ("It is Rome.", Finding.WRONG),
        ("France.", Finding.NOTHING),
        ("Parisian", Finding.NOTHING),
        ("", Finding.NOTHING),
    ],
)
def test_an_answer_counts_only_when_it_is_the_one_that_is_given(
    text: str, finding: Finding
) -> None:
    assert find_answer(text, task_of("capital", "Paris").tags) is finding


@pytest.mark.parametrize(
    ("text", "right"),
    [
        ("1 plus 1 is 2.", True),
        ("1 + 1 = 2", True),
        ("1 plus 1 is 1.", False),
        ("1 plus 1 is 3.", False),
        ("2", True),
        ("12", False),
    ],
)
def test_the_numbers_of_the_question_are_no_answer(text: str, right: bool) -> None:
    tags = {"family": "math", "kind": "sum", "subject": "1 plus 1", "answer": "2"}
    assert is_correct(text, tags) is right


def test_a_sentence_must_be_rewritten_whole() -> None:
    tags = task_of("past", "They sang a song").tags
    assert is_correct("They sang a song.", tags)
    assert not is_correct("We sang a song.", tags)
    assert not is_correct("They sing a song.", tags)
    assert not is_correct("They singed a song.", tags)


def test_tags_that_are_not_of_a_task_are_refused() -> None:
    with pytest.raises(KeyError):
        is_correct("Paris", {"answer": "Paris"})


def test_every_combination_is_in_one_split_and_few_are_held_out() -> None:
    train = {(task.kind.name, task.prompt) for task in all_tasks(Split.TRAIN)}
    held_out = {(task.kind.name, task.prompt) for task in all_tasks(Split.HELD_OUT)}
    assert not train & held_out
    assert 0.1 < len(held_out) / (len(train) + len(held_out)) < 0.2


def test_every_fact_is_trained_on_in_some_wording() -> None:
    trained = {(task.kind.name, task.fact.subject) for task in all_tasks(Split.TRAIN)}
    assert trained == {(k.name, f.subject) for k in load_kinds().values() for f in k.facts}


def test_demo_prompts_are_held_out_distinct_and_spread_over_families_and_kinds() -> None:
    tasks = demo_tasks(50)
    assert Counter(task.kind.family for task in tasks) == dict.fromkeys(FAMILIES, 50)
    assert len({task.prompt for task in tasks}) == len(tasks)
    assert {task.split for task in tasks} == {Split.HELD_OUT}
    assert {task.kind.name for task in tasks} == set(load_kinds())


def test_one_question_has_one_answer() -> None:
    answers: dict[str, set[str]] = {}
    for split in Split:
        for task in all_tasks(split):
            answers.setdefault(task.prompt, set()).add(task.fact.answer)
    assert [prompt for prompt, each in answers.items() if len(each) > 1] == []


def test_tags_fit_into_a_prompt() -> None:
    for task in demo_tasks(50):
        assert all(0 < len(value) <= MAX_TAG_CHARACTERS for value in task.tags.values())


def test_articles_fit_the_word_that_follows() -> None:
    assert fill("Is a {s} a {t}?", {"s": "ant", "t": "bee"}) == "Is an ant a bee?"
    assert fill("A {s} and a {t}", {"s": "owl", "t": "unit"}) == "An owl and a unit"
