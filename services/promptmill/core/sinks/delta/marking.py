"""Marking dead letters as replayed, in place."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa
from deltalake import CommitProperties, DeltaTable

from promptmill.core.sinks.base import Mark
from promptmill.core.sinks.tables.dead_letters import DEAD, REPLAYED


def apply_marks(table: DeltaTable, marks: Sequence[Mark], properties: CommitProperties) -> None:
    """Merge the marks into the table; a mark that matches nothing makes no commit.

    Two commits at most: one for marks by letter, one for marks by prompt. A crash between
    them is repaired by doing all of it again.
    """
    if letters := sorted({mark.letter_id for mark in marks if mark.letter_id is not None}):
        source = pa.table({"letter_id": letters})
        _merge(table, source, "t.letter_id = s.letter_id", properties)
    below: dict[str, int] = {}
    for mark in marks:
        if mark.prompt_id is not None:
            below[mark.prompt_id] = max(mark.below, below.get(mark.prompt_id, 0))
    if below:
        source = pa.table({"prompt_id": list(below), "below": list(below.values())})
        condition = "t.prompt_id = s.prompt_id AND t.replays < s.below"
        _merge(table, source, condition, properties)


def _merge(
    table: DeltaTable, source: pa.Table, condition: str, properties: CommitProperties
) -> None:
    table.merge(
        source,
        predicate=f"{condition} AND t.state = '{DEAD}'",
        source_alias="s",
        target_alias="t",
        commit_properties=properties,
    ).when_matched_update({"state": f"'{REPLAYED}'"}).execute()
