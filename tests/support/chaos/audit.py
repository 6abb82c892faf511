"""The audit: what was published against what is accepted, rejected and dead. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from support.chaos.tables import TOPIC_OF, Positions, Row, Tables
from support.chaos.topic_log import COMPLETIONS, DEAD_LETTERS, PROMPTS, SCORED, Seen

_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Audit:
    """What one run came to.

    Attributes:
        accepted, rejected, dead: prompts, by the table that settles them.
        lost: published, and settled nowhere; bytes that nobody could read and nobody kept.
        doubled: a record id twice, or a prompt settled twice, in the tables.
        strangers: settled, and never published.
        gaps: positions that are not the log's end, rows that are not their message.
        absorbed: messages on the store's topics that became no row: repetitions and variants.
        redone: messages beyond the first of their prompt, by topic, see :func:`redone`.
        reasons: why prompts died.
    """

    published: int
    accepted: int
    rejected: int
    dead: int
    lost: Sequence[str] = ()
    doubled: Sequence[str] = ()
    strangers: Sequence[str] = ()
    gaps: Sequence[str] = ()
    absorbed: int = 0
    redone: Mapping[str, int] = field(default_factory=dict)
    reasons: Mapping[str, int] = field(default_factory=dict)

    @property
    def is_clean(self) -> bool:
        """Nothing lost, doubled or unaccounted for."""
        return not (self.lost or self.doubled or self.strangers or self.gaps)

    def __str__(self) -> str:
        faults = {
            name: (len(found), list(found)[:_SHOWN])
            for name in ("lost", "doubled", "strangers", "gaps")
            if (found := getattr(self, name))
        }
        return (
            f"{self.published} published, {self.accepted} accepted, {self.rejected} rejected, "
            f"{self.dead} dead; {faults or 'clean'}; {self.absorbed} absorbed, "
            f"redone {dict(self.redone)}, reasons {dict(self.reasons)}"
        )


def audit(
    tables: Tables, messages: Collection[Seen], ends: Positions, sent: set[str], own: set[str]
) -> Audit:
    """Compare the store with the topics and with what was sent.

    Args:
        messages: everything on the topics.
        ends: where the topics end.
        sent: ids of the prompts whose publication was acknowledged.
        own: those of them that are counted; the audit must be clean for all.
    """
    accepted = {row.prompt_id for row in tables.of("records")}
    rejected = {row.prompt_id for row in tables.of("rejects")}
    dead = {row.prompt_id for row in tables.of("dead_letters") if row.state == "dead"} - {None}
    settled = accepted | rejected | dead
    return Audit(
        published=len(own),
        accepted=len(accepted & own),
        rejected=len(rejected & own),
        dead=len(dead & own),
        lost=[*sorted(sent - settled), *_dropped(tables.of("dead_letters"), messages)],
        doubled=sorted(_doubled(tables, accepted, rejected, dead)),
        strangers=sorted(str(prompt) for prompt in settled - sent),
        gaps=[*_unreached(tables.positions, ends), *_misplaced(tables.rows, messages)],
        absorbed=_absorbed(tables.rows, messages, own),
        redone=redone(message for message in messages if message.prompt_id in own),
        reasons=_reasons(row for row in tables.of("dead_letters") if row.prompt_id in own),
    )


def redone(messages: Iterable[Seen]) -> dict[str, int]:
    """Messages beyond the first of their prompt, on the topics with one message a prompt.

    A prompt whose acknowledgement was lost stands on its topic twice, because its publisher sent
    it again: two completions of it are nobody's repetition.
    """
    counts = Counter((m.topic, m.prompt_id) for m in messages)
    found: Counter[str] = Counter({COMPLETIONS: 0, SCORED: 0})
    for (topic, prompt), number in counts.items():
        if topic in found:
            found[topic] += max(0, number - max(1, counts[PROMPTS, prompt]))
    return dict(found)


def _doubled(tables: Tables, *settling: set[str | None]) -> Iterable[str]:
    records = Counter(row.identity for row in tables.of("records"))
    yield from (f"record {record}" for record, number in records.items() if number > 1)
    decisions = {(row.prompt_id, row.decision) for row in tables.of("records")}
    for name, prompts in (
        ("records", Counter(prompt for prompt, _ in decisions)),
        ("rejects", Counter(row.prompt_id for row in tables.of("rejects"))),
        ("prompts", Counter(row.prompt_id for row in tables.of("prompts"))),
        ("two tables", Counter(prompt for among in settling for prompt in among)),
    ):
        yield from (f"{name}: {prompt}" for prompt, number in prompts.items() if number > 1)


def _dropped(letters: Iterable[Row], messages: Iterable[Seen]) -> Iterable[str]:
    """Messages that carry no prompt's id and have no dead letter either."""
    kept = {letter.key for letter in letters}
    for m in messages:
        if m.prompt_id is None and m.topic != DEAD_LETTERS and m.key not in kept:
            yield f"{m.topic}-{m.partition} at {m.offset}, key {m.key!r}"


def _unreached(positions: Positions, ends: Positions) -> Iterable[str]:
    for at, position in positions.items():
        if position != ends.get(at, 0):
            yield f"{at[0]}-{at[1]} is stored up to {position}, its log ends at {ends.get(at, 0)}"


def _misplaced(rows: Iterable[Row], messages: Iterable[Seen]) -> Iterable[str]:
    logged = {(m.topic, m.partition, m.offset): m for m in messages}
    for row in rows:
        message = logged.get((TOPIC_OF[row.table], row.shard, row.offset))
        if message is None or message.prompt_id != row.prompt_id:
            yield f"{row.table} has a row of {row.shard}:{row.offset} that is not that message"


def _absorbed(rows: Iterable[Row], messages: Iterable[Seen], own: set[str]) -> int:
    stored = sum(m.topic in TOPIC_OF.values() and m.prompt_id in own for m in messages)
    return stored - sum(row.prompt_id in own for row in rows)


def _reasons(letters: Iterable[Row]) -> dict[str, int]:
    return dict(Counter(row.reason for row in letters if row.state == "dead"))
