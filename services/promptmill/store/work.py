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
               of replays; any that hold no prompt             ``unknown_letter`` (a note)
=============  ==============================================  =================================

A dead prompt is open again for what carries more replays than its dead letter: somebody has
sent it again on purpose. What arrives late from before its death stays out.
"""

from __future__ import annotations

from typing import NamedTuple

from promptmill.core.sinks.base import Mark
from promptmill.core.sinks.keys import high_word
from promptmill.core.sinks.tables.dead_letters import REPLAYED
from promptmill.store.index import SettledIndex, Settlement, State
from promptmill_schemas import DeadLetter, Prompt, Record, Reject

DUPLICATE = "duplicate"
VARIANT = "variant"
DEAD = "dead"
SETTLED = "settled"
NOTED = "replay_noted"
UNKNOWN_LETTER = "unknown_letter"


class Ruling(NamedTuple):
    """What becomes of a message.

    Attributes:
        dropped: why it becomes no row; ``None`` when it becomes one.
        mark: dead letters that are now known to have been sent again.
    """

    dropped: str | None = None
    mark: Mark | None = None


KEPT = Ruling()


def rule_prompt(prompt: Prompt, index: SettledIndex, _shard: int) -> Ruling:
    """A prompt is admitted once; a replay is the same prompt."""
    if index.settlement(prompt.prompt_id).state & State.PUBLISHED:
        return Ruling(DUPLICATE)
    index.note(prompt.prompt_id, State.PUBLISHED)
    return KEPT


def rule_record(record: Record, index: SettledIndex, shard: int) -> Ruling:
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
    return Ruling(mark=_replay_mark(known, record, shard))


def rule_reject(reject: Reject, index: SettledIndex, shard: int) -> Ruling:
    """A prompt is rejected once, and only while nothing else has settled it."""
    known = index.settlement(reject.prompt_id)
    if known.is_decided:
        same = _is_same_decision(known, State.REJECTED, reject.decision_id)
        return Ruling(DUPLICATE if same else VARIANT)
    if _is_late(known, reject.replays):
        return Ruling(DEAD)
    index.note(reject.prompt_id, State.REJECTED, decision_id=reject.decision_id)
    return Ruling(mark=_replay_mark(known, reject, shard))


def rule_letter(letter: DeadLetter, index: SettledIndex, shard: int) -> Ruling:
    """A prompt dies once at each number of replays, and not after a decision."""
    if letter.state == REPLAYED:
        return _rule_note(letter, index, shard)
    if letter.prompt_id is None:
        if index.has_letter(letter.letter_id):
            return Ruling(DUPLICATE)
        index.add_letter(letter.letter_id)
        return KEPT
    known = index.settlement(letter.prompt_id)
    if known.is_decided:
        return Ruling(SETTLED)
    if _is_late(known, letter.replays):
        return Ruling(DUPLICATE)
    index.note(letter.prompt_id, State.DEAD, replays=letter.replays)
    return Ruling(mark=_replay_mark(known, letter, shard))


def _rule_note(note: DeadLetter, index: SettledIndex, shard: int) -> Ruling:
    """The note that a letter was sent again is no row; it changes that letter's."""
    if note.prompt_id is None:
        is_known = index.has_letter(note.letter_id)
    else:
        is_known = index.settlement(note.prompt_id).is_dead
    if not is_known:
        return Ruling(UNKNOWN_LETTER)
    return Ruling(NOTED, Mark(shard, letter_id=note.letter_id))


def _is_same_decision(known: Settlement, state: int, decision_id: str) -> bool:
    return known.state & state != 0 and known.decision == high_word(decision_id)


def _is_late(known: Settlement, replays: int) -> bool:
    """Whether the prompt died and this is not from a later life."""
    return known.is_dead and replays <= known.replays


def _replay_mark(
    known: Settlement, successor: Record | Reject | DeadLetter, shard: int
) -> Mark | None:
    """Whatever comes from a later life proves that the earlier letters were sent again."""
    if not known.is_dead:
        return None
    return Mark(shard, prompt_id=successor.prompt_id, below=successor.replays)
