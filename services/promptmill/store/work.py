"""The rules for rows: the first decision of a prompt is kept, and the first record of an id.

The rules do no I/O. They read and update a :class:`SettledIndex`.

=============  ==============================================  =================================
table          kept                                            dropped as
=============  ==============================================  =================================
prompts        the first of an id                              ``duplicate``
records        of an open prompt; siblings of one decision     ``variant`` of another decision,
                                                               ``duplicate``, ``dead``
rejects        of an open prompt                               ``variant``, ``duplicate``, ``dead``
dead letters   of an open prompt, the first at each number     ``settled``, ``duplicate``,
               of replays; any that hold no prompt             ``replay_noted``, ``unknown_letter``
=============  ==============================================  =================================

A note that a dead letter was sent again, and every outcome of a replay, marks the open dead letter
of the prompt; there is at most one.

A dead prompt accepts messages with more replays than its dead letter has, because it was sent again
on purpose. Late messages from before its death are dropped.
"""

from __future__ import annotations

from typing import NamedTuple

from promptmill.lake.ids import high_word
from promptmill.lake.ports import TableName
from promptmill.lake.tables.dead_letters import REPLAYED
from promptmill.store.index import PromptState, SettledIndex, State
from promptmill_schemas import DeadLetter, Prompt, Record, Reject

DUPLICATE = "duplicate"
VARIANT = "variant"
DEAD = "dead"
SETTLED = "settled"
NOTED = "replay_noted"
UNKNOWN_LETTER = "unknown_letter"


class Replayed(NamedTuple):
    """A dead letter that is now known to have been sent again."""

    letter_id: str
    replays: int = 0


class RowDecision(NamedTuple):
    """Whether a message becomes a row.

    Attributes:
        dropped: the reason why it becomes no row, or ``None``.
        replayed: the dead letter that it marks as sent again.
    """

    dropped: str | None = None
    replayed: Replayed | None = None


KEPT = RowDecision()


def rule_prompt(prompt: Prompt, index: SettledIndex) -> RowDecision:
    """Keep a prompt once; a replay is the same prompt."""
    if index.prompt_state(prompt.prompt_id).state & State.PUBLISHED:
        return RowDecision(DUPLICATE)
    index.note(prompt.prompt_id, State.PUBLISHED)
    index.counts.add(TableName.PROMPTS, prompt.run)
    return KEPT


def rule_record(record: Record, index: SettledIndex) -> RowDecision:
    """Keep all records of the first decision, each once."""
    known = index.prompt_state(record.prompt_id)
    if known.is_decided:
        same = _is_same_decision(known, State.ACCEPTED, record.decision_id)
        if not same or index.has_record(record.record_id):
            return RowDecision(DUPLICATE if same else VARIANT)
        index.add_record(record.record_id)
        return KEPT
    if _is_late(known, record.replays):
        return RowDecision(DEAD)
    index.note(record.prompt_id, State.ACCEPTED, decision_id=record.decision_id)
    index.add_record(record.record_id)
    index.counts.add(TableName.RECORDS, record.run)
    return RowDecision(replayed=_replayed(known, record, index))


def rule_reject(reject: Reject, index: SettledIndex) -> RowDecision:
    """Keep one reject of a prompt, and only if nothing else has settled it."""
    known = index.prompt_state(reject.prompt_id)
    if known.is_decided:
        same = _is_same_decision(known, State.REJECTED, reject.decision_id)
        return RowDecision(DUPLICATE if same else VARIANT)
    if _is_late(known, reject.replays):
        return RowDecision(DEAD)
    index.note(reject.prompt_id, State.REJECTED, decision_id=reject.decision_id)
    index.counts.add(TableName.REJECTS, reject.run)
    return RowDecision(replayed=_replayed(known, reject, index))


def rule_letter(letter: DeadLetter, index: SettledIndex) -> RowDecision:
    """Keep one dead letter at each number of replays, and none after a decision."""
    if letter.state == REPLAYED:
        return _rule_note(letter, index)
    if letter.prompt_id is None:
        if index.has_letter(letter.letter_id):
            return RowDecision(DUPLICATE)
        index.add_letter(letter.letter_id)
        index.open_letter(letter.letter_id)
        return KEPT
    known = index.prompt_state(letter.prompt_id)
    if known.is_decided:
        return RowDecision(SETTLED)
    if _is_late(known, letter.replays):
        return RowDecision(DUPLICATE)
    earlier = _replayed(known, letter, index)
    index.note(letter.prompt_id, State.DEAD, replays=letter.replays)
    index.open_letter(letter.letter_id, letter.prompt_id)
    index.counts.add(TableName.DEAD_LETTERS, letter.run)
    return RowDecision(replayed=earlier)


def _rule_note(note: DeadLetter, index: SettledIndex) -> RowDecision:
    """Mark the dead letter that was sent again; the note itself is no row."""
    if note.prompt_id is None:
        is_known, replays = index.has_letter(note.letter_id), 0
    else:
        known = index.prompt_state(note.prompt_id)
        is_known, replays = known.is_dead, known.replays
    if not is_known:
        return RowDecision(UNKNOWN_LETTER)
    if not index.close_letter(note.letter_id, note.prompt_id):
        return RowDecision(NOTED)  # marked before, by another note or by what came of the replay
    if note.prompt_id is not None:
        index.counts.add(TableName.DEAD_LETTERS, note.run, -1)
    return RowDecision(NOTED, Replayed(note.letter_id, replays))


def _is_same_decision(known: PromptState, state: int, decision_id: str) -> bool:
    return known.state & state != 0 and known.decision == high_word(decision_id)


def _is_late(known: PromptState, replays: int) -> bool:
    """Whether the prompt is dead and this message does not belong to a later replay."""
    return known.is_dead and replays <= known.replays


def _replayed(
    known: PromptState, later: Record | Reject | DeadLetter, index: SettledIndex
) -> Replayed | None:
    """Return the dead letter that a message with more replays proves to have been sent again."""
    letter_id = index.letter_of(str(later.prompt_id)) if known.is_dead else None
    if letter_id is None:
        return None
    index.close_letter(letter_id, later.prompt_id)
    index.counts.add(TableName.DEAD_LETTERS, later.run, -1)
    return Replayed(letter_id, known.replays)
