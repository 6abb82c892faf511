"""Which message becomes a row: the first decision of a prompt wins, the first record of an id.

Pure: what is already settled comes from a :class:`SettledIndex`, which is told what is kept.

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

A note that a letter was sent again, and whatever comes of a replay, mark the letter of the prompt
that is still open; there is at most one.

A dead prompt is open again for what carries more replays than its dead letter: somebody has
sent it again on purpose. What arrives late from before its death stays out.
"""

from __future__ import annotations

from typing import NamedTuple

from promptmill.lake.ids import high_word
from promptmill.lake.ports import TableName
from promptmill.lake.tables.dead_letters import REPLAYED
from promptmill.store.index import SettledIndex, Settlement, State
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


class Ruling(NamedTuple):
    """What becomes of a message.

    Attributes:
        dropped: why it becomes no row; ``None`` when it becomes one.
        replayed: the dead letter that it marks.
    """

    dropped: str | None = None
    replayed: Replayed | None = None


KEPT = Ruling()


def rule_prompt(prompt: Prompt, index: SettledIndex) -> Ruling:
    """A prompt is admitted once; a replay is the same prompt."""
    if index.settlement(prompt.prompt_id).state & State.PUBLISHED:
        return Ruling(DUPLICATE)
    index.note(prompt.prompt_id, State.PUBLISHED)
    index.counts.add(TableName.PROMPTS, prompt.run)
    return KEPT


def rule_record(record: Record, index: SettledIndex) -> Ruling:
    """All records of the first decision are kept, each once."""
    known = index.settlement(record.prompt_id)
    if known.is_decided:
        same = _is_same_decision(known, State.ACCEPTED, record.decision_id)
        if not same or index.has_record(record.record_id):
            return Ruling(DUPLICATE if same else VARIANT)
        index.add_record(record.record_id)
        return KEPT
    if _is_late(known, record.replays):
        return Ruling(DEAD)
    index.note(record.prompt_id, State.ACCEPTED, decision_id=record.decision_id)
    index.add_record(record.record_id)
    index.counts.add(TableName.RECORDS, record.run)
    return Ruling(replayed=_replayed(known, record, index))


def rule_reject(reject: Reject, index: SettledIndex) -> Ruling:
    """A prompt is rejected once, and only while nothing else has settled it."""
    known = index.settlement(reject.prompt_id)
    if known.is_decided:
        same = _is_same_decision(known, State.REJECTED, reject.decision_id)
        return Ruling(DUPLICATE if same else VARIANT)
    if _is_late(known, reject.replays):
        return Ruling(DEAD)
    index.note(reject.prompt_id, State.REJECTED, decision_id=reject.decision_id)
    index.counts.add(TableName.REJECTS, reject.run)
    return Ruling(replayed=_replayed(known, reject, index))


def rule_letter(letter: DeadLetter, index: SettledIndex) -> Ruling:
    """A prompt dies once at each number of replays, and not after a decision."""
    if letter.state == REPLAYED:
        return _rule_note(letter, index)
    if letter.prompt_id is None:
        if index.has_letter(letter.letter_id):
            return Ruling(DUPLICATE)
        index.add_letter(letter.letter_id)
        index.open_letter(letter.letter_id)
        return KEPT
    known = index.settlement(letter.prompt_id)
    if known.is_decided:
        return Ruling(SETTLED)
    if _is_late(known, letter.replays):
        return Ruling(DUPLICATE)
    earlier = _replayed(known, letter, index)
    index.note(letter.prompt_id, State.DEAD, replays=letter.replays)
    index.open_letter(letter.letter_id, letter.prompt_id)
    index.counts.add(TableName.DEAD_LETTERS, letter.run)
    return Ruling(replayed=earlier)


def _rule_note(note: DeadLetter, index: SettledIndex) -> Ruling:
    """The note that a letter was sent again is no row of its own; it marks that letter."""
    if note.prompt_id is None:
        is_known, replays = index.has_letter(note.letter_id), 0
    else:
        known = index.settlement(note.prompt_id)
        is_known, replays = known.is_dead, known.replays
    if not is_known:
        return Ruling(UNKNOWN_LETTER)
    if not index.close_letter(note.letter_id, note.prompt_id):
        return Ruling(NOTED)  # marked before, by another note or by what came of the replay
    if note.prompt_id is not None:
        index.counts.add(TableName.DEAD_LETTERS, note.run, -1)
    return Ruling(NOTED, Replayed(note.letter_id, replays))


def _is_same_decision(known: Settlement, state: int, decision_id: str) -> bool:
    return known.state & state != 0 and known.decision == high_word(decision_id)


def _is_late(known: Settlement, replays: int) -> bool:
    """Whether the prompt died and this is not from a later life."""
    return known.is_dead and replays <= known.replays


def _replayed(
    known: Settlement, later: Record | Reject | DeadLetter, index: SettledIndex
) -> Replayed | None:
    """Whatever comes from a later life proves that the letter of this one was sent again."""
    letter_id = index.letter_of(str(later.prompt_id)) if known.is_dead else None
    if letter_id is None:
        return None
    index.close_letter(letter_id, later.prompt_id)
    index.counts.add(TableName.DEAD_LETTERS, later.run, -1)
    return Replayed(letter_id, known.replays)
