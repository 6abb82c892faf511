"""Which texts are the same content, and which messages the same decision."""

from __future__ import annotations

import pytest

from promptmill.filter.content import decision_id
from promptmill_schemas import FunctionCall, Message, ToolCall
from promptmill_schemas.content import FinalAnswer, content_digest, exact, folded
from support.claims import content_key
from support.scored import answer, scored

ASK = (Message(role="user", content="What is 2 + 2?"),)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Four.", "four."),
        ("It is  four.\n", " It is\tfour."),
        ("ﬁne", "fine"),
        ("Straße", "STRASSE"),
        ("café", "cafe\u0301"),
        ("a\u00a0b", "a b"),
        ("１２", "12"),
    ],
)
def test_near_duplicates_are_compared_without_differences_in_form(one: str, other: str) -> None:
    assert folded(one) == folded(other)


@pytest.mark.parametrize(
    ("one", "other"), [("café", "cafe\u0301"), (" It is four.\n", "It is four."), ("\u00a0a", "a")]
)
def test_equal_texts_are_the_same_content(one: str, other: str) -> None:
    assert exact(one) == exact(other)
    assert content_key("sft", ASK, one) == content_key("sft", ASK, other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("2⁴", "24"),
        ("US", "us"),
        ("if a:\n    b()\nc()", "if a:\nb()\nc()"),
        ("Straße", "STRASSE"),
        ("ﬁne", "fine"),
        ("a  b", "a b"),
    ],
)
def test_texts_that_differ_in_form_are_other_content(one: str, other: str) -> None:
    assert content_key("sft", ASK, one) != content_key("sft", ASK, other)
    asked = (Message(role="user", content=one),), (Message(role="user", content=other),)
    assert content_key("sft", asked[0], "Yes.") != content_key("sft", asked[1], "Yes.")


def test_reasoning_is_not_content_and_calls_and_tools_are() -> None:
    call = ToolCall(id="c1", function=FunctionCall(name="add", arguments="{}"))
    turns = [
        Message(role="assistant", content="Four.", reasoning_content="Two and two."),
        Message(role="assistant", content="Four."),
        Message(role="assistant", content="Four.", tool_calls=(call,)),
    ]
    keys = [content_key("sft", (*ASK, turn), "x") for turn in turns]
    assert keys[0] == keys[1] != keys[2]
    other = call.model_copy(update={"id": "drawn"})
    one, two = (content_digest("sft", [], [FinalAnswer("", (c,))]) for c in (call, other))
    assert one == two != content_digest("sft", [], [FinalAnswer("")])
    assert content_key("sft", ASK, "x", tools=[{"type": "x"}]) != content_key("sft", ASK, "x")


@pytest.mark.parametrize(
    ("one", "other"), [("four", "five"), ("it is", "itis"), ("4.", "4"), ("a b", "b a"), ("", "a")]
)
def test_other_words_are_other_content(one: str, other: str) -> None:
    assert content_key("sft", ASK, one) != content_key("sft", ASK, other)


def test_the_same_answer_to_another_prompt_is_other_content() -> None:
    other = (Message(role="user", content="What is 1 + 3?"),)
    assert content_key("sft", ASK, "Four.") != content_key("sft", other, "Four.")


def test_who_said_it_matters() -> None:
    other = (Message(role="system", content=ASK[0].content),)
    assert content_key("sft", ASK, "Four.") != content_key("sft", other, "Four.")


def test_text_cannot_move_between_turns_and_stay_the_same_content() -> None:
    one = (Message(role="user", content="a b"), Message(role="user", content="c"))
    other = (Message(role="user", content="a"), Message(role="user", content="b c"))
    assert content_key("sft", one, "x") != content_key("sft", other, "x")


def test_a_pair_is_other_content_than_its_chosen_answer_and_than_another_pair() -> None:
    keys = {
        content_key("sft", ASK, "Four."),
        content_key("preference", ASK, "Four.", "Five."),
        content_key("preference", ASK, "Four.", "Six."),
        content_key("preference", ASK, "Five.", "Four."),
    }
    assert len(keys) == 4


def test_the_same_message_is_the_same_decision_whenever_it_was_made() -> None:
    one = scored(answer("Four."), answer("Five."))
    later = one.model_copy(update={"timings": one.timings.model_copy(update={"work_s": 9.0})})
    assert decision_id(one) == decision_id(later)


def test_other_answers_grades_or_graders_are_another_decision() -> None:
    base = scored(answer("Four."), answer("Five."))
    scorer = base.scorer.model_copy(update={"revision": "2"})
    messages = [
        base,
        scored(answer("Four."), answer("Six.")),
        scored(answer("Five."), answer("Four.")),
        scored(answer("Four."), answer("Five.", reward=1.0)),
        scored(answer("Four."), answer("Five.", verbosity=4.0)),
        scored(answer("Four."), answer("Five.", finish="length")),
        scored(answer("Four."), answer("Five.", refusal="too long")),
        scored(answer("Four."), answer("Five."), ask="Another question"),
        base.model_copy(update={"scorer": scorer}),
    ]
    assert len(set(map(decision_id, messages))) == len(messages)
