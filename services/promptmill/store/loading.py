"""Building the index of shards from what their tables hold."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from typing import Final, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from promptmill.core.sinks.base import Sink, TableName
from promptmill.core.sinks.keys import key_of, words_of
from promptmill.core.sinks.tables.dead_letters import DEAD
from promptmill.store.index import MAX_REPLAYS, Entries, SettledIndex, State

Load: TypeAlias = Callable[[SettledIndex, pa.RecordBatch], None]


def load_indexes(sink: Sink, shards: Collection[int]) -> dict[int, SettledIndex]:
    """An index for each of the shards, which must have been adopted before.

    Reads the id columns of every row of theirs: about 0.3 s for a million rows.
    """
    indexes = {shard: SettledIndex() for shard in shards}
    if not indexes:
        return indexes
    for table, load in _LOADS.items():
        for batch in sink.ids(table, shards):
            for shard in pc.unique(batch.column("shard")).to_pylist():
                load(indexes[shard], batch.filter(pc.equal(batch.column("shard"), shard)))
    for index in indexes.values():
        index.merge()
    return indexes


def _load_prompts(index: SettledIndex, rows: pa.RecordBatch) -> None:
    index.load(Entries.of(*words_of(rows.column("prompt_id")), State.PUBLISHED))


def _load_records(index: SettledIndex, rows: pa.RecordBatch) -> None:
    decision, _ = words_of(rows.column("decision_id"))
    records, _ = words_of(rows.column("record_id"))
    prompts = words_of(rows.column("prompt_id"))
    index.load(Entries.of(*prompts, State.ACCEPTED, decision=decision), records)


def _load_rejects(index: SettledIndex, rows: pa.RecordBatch) -> None:
    decision, _ = words_of(rows.column("decision_id"))
    prompts = words_of(rows.column("prompt_id"))
    index.load(Entries.of(*prompts, State.REJECTED, decision=decision))


def _load_letters(index: SettledIndex, rows: pa.RecordBatch) -> None:
    is_dead = pc.equal(rows.column("state"), DEAD)
    dead, others = rows.filter(is_dead), rows.filter(pc.invert(is_dead))
    subjects = pc.coalesce(dead.column("prompt_id"), dead.column("letter_id"))
    opened = dict(zip(_keys(dead.column("letter_id")), _keys(subjects), strict=True))
    index.load_letters(opened, set(_keys(others.column("letter_id"))))
    of_prompts = pc.is_valid(rows.column("prompt_id"))
    for identity in rows.filter(pc.invert(of_prompts)).column("letter_id").to_pylist():
        index.add_letter(identity)
    rows = rows.filter(of_prompts)
    replays = np.minimum(rows.column("replays").to_numpy(), MAX_REPLAYS).astype(np.uint32)
    index.load(Entries.of(*words_of(rows.column("prompt_id")), State.DEAD, replays=replays))


def _keys(ids: pa.Array) -> Iterator[int]:
    return map(key_of, ids.to_pylist())


_LOADS: Final[dict[TableName, Load]] = {
    TableName.PROMPTS: _load_prompts,
    TableName.RECORDS: _load_records,
    TableName.REJECTS: _load_rejects,
    TableName.DEAD_LETTERS: _load_letters,
}
