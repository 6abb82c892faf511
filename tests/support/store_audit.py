"""The audit of a store, read with a reader that is not the project's."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from deltalake import DeltaTable

TOPICS = {"prompts", "records", "rejects", "dead-letters"}


@dataclass
class Expected:
    """What must come out, by prompt."""

    published: set[str] = field(default_factory=set)
    accepted: set[str] = field(default_factory=set)
    rejected: set[str] = field(default_factory=set)
    dead: set[str] = field(default_factory=set)


@dataclass(frozen=True)
class Holdings:
    """What a store holds: rows by topic, and the next offset by topic and shard."""

    rows: dict[str, list[dict[str, Any]]]
    positions: dict[tuple[str, int], int]


def read_delta(folder: Path, ends: Iterable[tuple[str, int]]) -> Holdings:
    """The tables of a folder."""
    tables = {topic: DeltaTable(str(folder / topic.replace("-", "_"))) for topic in TOPICS}
    positions = {
        (topic, shard): tables[topic].transaction_version(f"promptmill/{topic}-{shard}") or 0
        for topic, shard in ends
    }
    rows = {topic: table.to_pyarrow_table().to_pylist() for topic, table in tables.items()}
    return Holdings(
        {topic: [dict(row) for row in found] for topic, found in rows.items()}, positions
    )


def audit(held: Holdings, expected: Expected, ends: dict[tuple[str, int], int]) -> None:
    """Every prompt in the table where it belongs, no row twice, all positions at the end.

    Args:
        ends: the offset after the last message by topic and partition.
    """
    rows = held.rows | {"dead-letters": latest_letters(held.rows["dead-letters"])}
    for topic, found in rows.items():
        places = [(row["shard"], row["shard_offset"]) for row in found]
        assert len(places) == len(set(places)), f"{topic} holds a message twice"
    records = [row["record_id"] for row in rows["records"]]
    letters = [row["letter_id"] for row in rows["dead-letters"]]
    assert len(records) == len(set(records)), "a record id is stored twice"
    assert len(letters) == len(set(letters)), "a letter id is stored twice"
    dead = [row for row in rows["dead-letters"] if row["state"] == "dead"]
    assert prompts(rows["prompts"]) == sorted(expected.published)
    assert set(prompts(rows["records"])) == expected.accepted
    assert prompts(rows["rejects"]) == sorted(expected.rejected)
    assert prompts(dead) == sorted(expected.dead)
    assert held.positions == ends, "a table does not stand at the end of its log"


def latest_letters(rows: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The letters among the rows of ``dead_letters``, each with its latest state.

    A row at offset -1 is no letter: it marks the one with its id as replayed.
    """
    found = [dict(row) for row in rows]
    marked = {row["letter_id"] for row in found if row["shard_offset"] < 0}
    assert {row["state"] for row in found if row["shard_offset"] < 0} <= {"replayed"}
    letters = [row for row in found if row["shard_offset"] >= 0]
    return [r | {"state": "replayed"} if r["letter_id"] in marked else r for r in letters]


def prompts(rows: list[dict[str, Any]]) -> list[str]:
    """The prompt ids, sorted; duplicates show, rows without one are left out."""
    return sorted(row["prompt_id"] for row in rows if row["prompt_id"] is not None)
