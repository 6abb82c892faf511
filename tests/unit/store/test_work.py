"""The rules: one row of the table in ``work`` at a time."""

from __future__ import annotations

import pytest

from promptmill.core.sinks.base import Mark
from promptmill.store.index import SettledIndex
from promptmill.store.work import (
    KEPT,
    Ruling,
    rule_letter,
    rule_prompt,
    rule_record,
    rule_reject,
)
from support.store import letter, pid, prompt, record, reject

SHARD = 2


@pytest.fixture
def index() -> SettledIndex:
    """Nothing is settled."""
    return SettledIndex()


def test_a_prompt_is_admitted_once(index: SettledIndex) -> None:
    assert rule_prompt(prompt("a"), index, SHARD) == KEPT
    assert rule_prompt(prompt("a", replays=1), index, SHARD) == Ruling("duplicate")
    assert rule_prompt(prompt("b"), index, SHARD) == KEPT


def test_a_settled_prompt_can_still_be_admitted(index: SettledIndex) -> None:
    rule_record(record("a"), index, SHARD)
    assert rule_prompt(prompt("a"), index, SHARD) == KEPT


def test_all_records_of_the_first_decision_are_kept_once(index: SettledIndex) -> None:
    assert rule_record(record("a"), index, SHARD) == KEPT
    assert rule_record(record("a", ordinal=1), index, SHARD) == KEPT
    assert rule_record(record("a"), index, SHARD) == Ruling("duplicate")
    assert rule_record(record("a", ordinal=1), index, SHARD) == Ruling("duplicate")


def test_another_decision_about_an_accepted_prompt_is_a_variant(index: SettledIndex) -> None:
    rule_record(record("a"), index, SHARD)
    assert rule_record(record("a", decision="second"), index, SHARD) == Ruling("variant")
    assert rule_reject(reject("a", decision="second"), index, SHARD) == Ruling("variant")
    assert rule_record(record("a", ordinal=1), index, SHARD) == KEPT


def test_another_decision_about_a_rejected_prompt_is_a_variant(index: SettledIndex) -> None:
    assert rule_reject(reject("a"), index, SHARD) == KEPT
    assert rule_reject(reject("a"), index, SHARD) == Ruling("duplicate")
    assert rule_reject(reject("a", decision="second"), index, SHARD) == Ruling("variant")
    assert rule_record(record("a", decision="second"), index, SHARD) == Ruling("variant")


def test_a_decision_that_is_both_accepted_and_rejected_keeps_its_first_form(
    index: SettledIndex,
) -> None:
    rule_reject(reject("a"), index, SHARD)
    assert rule_record(record("a"), index, SHARD) == Ruling("variant")


def test_a_prompt_that_is_settled_does_not_die(index: SettledIndex) -> None:
    rule_record(record("a"), index, SHARD)
    rule_reject(reject("b"), index, SHARD)
    assert rule_letter(letter("a"), index, SHARD) == Ruling("settled")
    assert rule_letter(letter("b", replays=3), index, SHARD) == Ruling("settled")


def test_what_arrives_from_before_a_prompts_death_is_dropped(index: SettledIndex) -> None:
    assert rule_letter(letter("a"), index, SHARD) == KEPT
    assert rule_record(record("a"), index, SHARD) == Ruling("dead")
    assert rule_reject(reject("a"), index, SHARD) == Ruling("dead")


def test_a_prompt_dies_once_at_each_number_of_replays(index: SettledIndex) -> None:
    rule_letter(letter("a"), index, SHARD)
    assert rule_letter(letter("a", offset=9), index, SHARD) == Ruling("duplicate")
    again = Ruling(mark=Mark(SHARD, prompt_id=pid("a"), below=1))
    assert rule_letter(letter("a", replays=1), index, SHARD) == again
    assert rule_letter(letter("a"), index, SHARD) == Ruling("duplicate")


def test_a_replay_settles_a_dead_prompt_and_marks_its_letter(index: SettledIndex) -> None:
    rule_letter(letter("a"), index, SHARD)
    rule_letter(letter("b"), index, SHARD)
    assert rule_record(record("a", replays=1), index, SHARD) == Ruling(
        mark=Mark(SHARD, prompt_id=pid("a"), below=1)
    )
    assert rule_reject(reject("b", replays=1), index, SHARD) == Ruling(
        mark=Mark(SHARD, prompt_id=pid("b"), below=1)
    )
    assert rule_letter(letter("a", replays=1), index, SHARD) == Ruling("settled")
    assert rule_record(record("a", ordinal=1, replays=1), index, SHARD) == KEPT


def test_a_note_of_a_replay_marks_the_letter_it_names(index: SettledIndex) -> None:
    note = letter("a", state="replayed")
    assert rule_letter(note, index, SHARD) == Ruling("unknown_letter")
    rule_letter(letter("a"), index, SHARD)
    mark = Mark(SHARD, letter_id=note.letter_id)
    assert rule_letter(note, index, SHARD) == Ruling("replay_noted", mark)
    assert rule_record(record("a"), index, SHARD) == Ruling("dead")
    assert rule_record(record("a", replays=1), index, SHARD).dropped is None


def test_a_letter_without_a_prompt_is_kept_by_its_own_id(index: SettledIndex) -> None:
    note = letter(None, state="replayed")
    assert rule_letter(note, index, SHARD) == Ruling("unknown_letter")
    assert rule_letter(letter(None), index, SHARD) == KEPT
    assert rule_letter(letter(None), index, SHARD) == Ruling("duplicate")
    assert rule_letter(letter(None, offset=1), index, SHARD) == KEPT
    mark = Mark(SHARD, letter_id=note.letter_id)
    assert rule_letter(note, index, SHARD) == Ruling("replay_noted", mark)
