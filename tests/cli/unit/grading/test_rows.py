"""Rows of the usual data sets of labelled answers, as they are found."""

from __future__ import annotations

from typing import Any

import pytest

from promptmill.cli.grading.rows import Tie, read_chosen_rejected, read_helpsteer3, read_rated
from promptmill_schemas import ATTRIBUTES, ContractError

PAIR = {"prompt": "Two plus two?", "chosen": "4", "rejected": "5", "subset": "math", "id": 7}
RATED = {"prompt": "Two plus two?", "response": "4", **dict.fromkeys(ATTRIBUTES, 3)}
PREFERENCE = {
    "domain": "stem",
    "context": [{"role": "user", "content": "Two plus two?"}],
    "response1": "4",
    "response2": "5",
    "overall_preference": -2,
}


def turns(*contents: str) -> list[dict[str, str]]:
    """A conversation that the user begins."""
    roles = ("user", "assistant")
    return [{"role": roles[at % 2], "content": text} for at, text in enumerate(contents)]


def test_a_pair_has_a_conversation_two_answers_and_a_subset() -> None:
    pair = read_chosen_rejected(PAIR)
    assert [(turn.role, turn.content) for turn in pair.prompt] == [("user", "Two plus two?")]
    assert (pair.chosen, pair.rejected, pair.subset) == (("4",), ("5",), "math")


def test_rewardbench_2_has_several_rejected_answers() -> None:
    row = {**PAIR, "chosen": ["4"], "rejected": ["5", "22", "fish"], "num_correct": 1}
    pair = read_chosen_rejected(row)
    assert (pair.chosen, pair.rejected) == (("4",), ("5", "22", "fish"))
    assert pair.answers == ("4", "5", "22", "fish")


def test_a_pair_may_be_given_as_messages() -> None:
    prompt = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}]
    chosen = [{"role": "assistant", "content": "Hello"}]
    pair = read_chosen_rejected({"prompt": prompt, "chosen": chosen, "rejected": "Go away"})
    assert [turn.role for turn in pair.prompt] == ["system", "user"]
    assert (pair.chosen, pair.subset) == (("Hello",), "all")


@pytest.mark.parametrize("prompt", [{"prompt": "Hi"}, {}])
def test_the_sides_of_ultrafeedback_are_whole_conversations(prompt: dict[str, str]) -> None:
    sides = {"chosen": turns("Hi", "Hello", "More?", "Yes"), "score_chosen": 8.0}
    other = {"rejected": turns("Hi", "Hello", "More?", "No"), "score_rejected": 3.5}
    pair = read_chosen_rejected({**prompt, **sides, **other})
    assert [turn.content for turn in pair.prompt] == ["Hi", "Hello", "More?"]
    assert (pair.chosen, pair.rejected) == (("Yes",), ("No",))


def test_sides_that_answer_different_conversations_are_refused() -> None:
    row = {"chosen": turns("Hi", "Hello"), "rejected": turns("Bye", "Hello!")}
    with pytest.raises(ContractError, match="same conversation"):
        read_chosen_rejected(row)


@pytest.mark.parametrize(("preference", "chosen"), [(-3, "4"), (-1, "4"), (1, "5"), (3, "5")])
def test_a_negative_preference_of_helpsteer3_prefers_response_1(
    preference: int, chosen: str
) -> None:
    pair = read_helpsteer3({**PREFERENCE, "overall_preference": preference})
    assert pair.chosen == (chosen,)
    assert set(pair.answers) == {"4", "5"}
    assert pair.subset == "stem"


@pytest.mark.parametrize(
    ("read", "row"),
    [
        (read_helpsteer3, {**PREFERENCE, "overall_preference": 0}),
        (read_helpsteer3, {**PREFERENCE, "response2": "4"}),
        (read_chosen_rejected, {**PAIR, "score_chosen": 4.0, "score_rejected": 4.0}),
        (read_chosen_rejected, {**PAIR, "rejected": "4"}),
    ],
)
def test_a_row_without_a_preference_is_a_tie(read: Any, row: dict[str, Any]) -> None:
    with pytest.raises(Tie):
        read(row)


def test_later_turns_inside_a_helpsteer2_prompt_are_turns() -> None:
    prompt = "Hi\n<extra_id_1>Assistant\nHello!\n\nAll well?\n<extra_id_1>User\nTwo plus two?"
    row = read_rated({**RATED, "prompt": prompt})
    assert [(turn.role, turn.content) for turn in row.prompt] == [
        ("user", "Hi"),
        ("assistant", "Hello!\n\nAll well?"),
        ("user", "Two plus two?"),
    ]
    assert row.scores == (3, 3, 3, 3, 3)


@pytest.mark.parametrize(
    ("read", "row", "field"),
    [
        (read_rated, {**RATED, "helpfulness": 5}, "helpfulness"),
        (read_rated, {**RATED, "verbosity": None}, "verbosity"),
        (read_rated, {key: RATED[key] for key in RATED if key != "response"}, "response"),
        (read_rated, {**RATED, "prompt": ""}, "prompt"),
        (read_chosen_rejected, {**PAIR, "chosen": None}, "chosen"),
        (read_chosen_rejected, {**PAIR, "chosen": []}, "chosen"),
        (read_chosen_rejected, {**PAIR, "rejected": ["5", 7]}, "rejected"),
        (read_chosen_rejected, {**PAIR, "rejected": turns("Why?")}, "rejected.role"),
        (read_chosen_rejected, {"chosen": "4", "rejected": "5"}, "prompt"),
        (read_helpsteer3, {**PREFERENCE, "overall_preference": None}, "overall_preference"),
        (read_helpsteer3, {**PREFERENCE, "overall_preference": 4}, "overall_preference"),
        (read_helpsteer3, {**PREFERENCE, "context": []}, "prompt"),
    ],
)
def test_a_wrong_row_is_an_error_that_names_the_field(
    read: Any, row: dict[str, Any], field: str
) -> None:
    with pytest.raises(ContractError) as caught:
        read(row)
    assert caught.value.field.startswith(field)
