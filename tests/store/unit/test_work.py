"""The rules: one row of the table in ``work`` at a time."""

from __future__ import annotations

import pytest

from promptmill.store.index import SettledIndex
from promptmill.store.work import (
    KEPT,
    Replayed,
    RowDecision,
    rule_letter,
    rule_prompt,
    rule_record,
    rule_reject,
)
from support.store import letter, pid, prompt, record, reject


@pytest.fixture
def index() -> SettledIndex:
    """Nothing is settled."""
    return SettledIndex()


def test_a_prompt_is_admitted_once(index: SettledIndex) -> None:
    assert rule_prompt(prompt("a"), index) == KEPT
    assert rule_prompt(prompt("a", replays=1), index) == RowDecision("duplicate")
    assert rule_prompt(prompt("b"), index) == KEPT


def test_a_settled_prompt_can_still_be_admitted(index: SettledIndex) -> None:
    rule_record(record("a"), index)
    assert rule_prompt(prompt("a"), index) == KEPT


def test_all_records_of_the_first_decision_are_kept_once(index: SettledIndex) -> None:
    assert rule_record(record("a"), index) == KEPT
    assert rule_record(record("a", ordinal=1), index) == KEPT
    assert rule_record(record("a"), index) == RowDecision("duplicate")
    assert rule_record(record("a", ordinal=1), index) == RowDecision("duplicate")


def test_another_decision_about_an_accepted_prompt_is_a_variant(index: SettledIndex) -> None:
    rule_record(record("a"), index)
    assert rule_record(record("a", decision="second"), index) == RowDecision("variant")
    assert rule_reject(reject("a", decision="second"), index) == RowDecision("variant")
    assert rule_record(record("a", ordinal=1), index) == KEPT


def test_another_decision_about_a_rejected_prompt_is_a_variant(index: SettledIndex) -> None:
    assert rule_reject(reject("a"), index) == KEPT
    assert rule_reject(reject("a"), index) == RowDecision("duplicate")
    assert rule_reject(reject("a", decision="second"), index) == RowDecision("variant")
    assert rule_record(record("a", decision="second"), index) == RowDecision("variant")


def test_a_decision_that_is_both_accepted_and_rejected_keeps_its_first_form(
    index: SettledIndex,
) -> None:
    rule_reject(reject("a"), index)
    assert rule_record(record("a"), index) == RowDecision("variant")


def test_a_prompt_that_is_settled_does_not_die(index: SettledIndex) -> None:
    rule_record(record("a"), index)
    rule_reject(reject("b"), index)
    assert rule_letter(letter("a"), index) == RowDecision("settled")
    assert rule_letter(letter("b", replays=3), index) == RowDecision("settled")


def test_what_arrives_from_before_a_prompts_death_is_dropped(index: SettledIndex) -> None:
    assert rule_letter(letter("a"), index) == KEPT
    assert rule_record(record("a"), index) == RowDecision("dead")
    assert rule_reject(reject("a"), index) == RowDecision("dead")


def test_a_prompt_dies_once_at_each_number_of_replays(index: SettledIndex) -> None:
    rule_letter(letter("a"), index)
    assert rule_letter(letter("a", offset=9), index) == RowDecision("duplicate")
    again = RowDecision(replayed=Replayed(letter("a").letter_id))
    assert rule_letter(letter("a", replays=1), index) == again
    assert rule_letter(letter("a"), index) == RowDecision("duplicate")


def test_a_replay_settles_a_dead_prompt_and_marks_its_letter(index: SettledIndex) -> None:
    rule_letter(letter("a"), index)
    rule_letter(letter("b", offset=1), index)
    assert rule_record(record("a", replays=1), index) == RowDecision(
        replayed=Replayed(letter("a").letter_id)
    )
    assert rule_reject(reject("b", replays=1), index) == RowDecision(
        replayed=Replayed(letter("b", offset=1).letter_id)
    )
    assert rule_letter(letter("a", replays=1), index) == RowDecision("settled")
    assert rule_record(record("a", ordinal=1, replays=1), index) == KEPT


def test_a_note_of_a_replay_marks_the_letter_it_names(index: SettledIndex) -> None:
    note = letter("a", state="replayed")
    assert rule_letter(note, index) == RowDecision("unknown_letter")
    rule_letter(letter("a"), index)
    marked = Replayed(note.letter_id)
    assert rule_letter(note, index) == RowDecision("replay_noted", marked)
    assert rule_letter(note, index) == RowDecision("replay_noted")
    assert rule_record(record("a"), index) == RowDecision("dead")
    assert rule_record(record("a", replays=1), index) == KEPT


def test_a_note_of_an_earlier_life_leaves_the_letter_of_this_one_open(index: SettledIndex) -> None:
    rule_letter(letter("a"), index)
    rule_letter(letter("a", replays=1), index)
    assert rule_letter(letter("a", state="replayed"), index) == RowDecision("replay_noted")
    assert index.letter_of(pid("a")) == letter("a", replays=1).letter_id


def test_a_letter_without_a_prompt_is_kept_by_its_own_id(index: SettledIndex) -> None:
    note = letter(None, state="replayed")
    assert rule_letter(note, index) == RowDecision("unknown_letter")
    assert rule_letter(letter(None), index) == KEPT
    assert rule_letter(letter(None), index) == RowDecision("duplicate")
    assert rule_letter(letter(None, offset=1), index) == KEPT
    assert rule_letter(note, index) == RowDecision("replay_noted", Replayed(note.letter_id))
    assert rule_letter(note, index) == RowDecision("replay_noted")
