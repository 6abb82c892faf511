"""An independent reader of the store: deltalake and pyarrow, no code under test."""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from deltalake import DeltaTable

from support.chaos.topic_log import DEAD_LETTERS, PROMPTS, RECORDS, REJECTS
from support.store_audit import latest_letters

LETTERS = "dead_letters"

TOPIC_OF: Mapping[str, str] = {
    "prompts": PROMPTS,
    "records": RECORDS,
    "rejects": REJECTS,
    LETTERS: DEAD_LETTERS,
}
"""Table → topic whose messages become its rows."""

_PLACE = ("shard", "shard_offset", "prompt_id")
_COLUMNS: Mapping[str, tuple[str, ...]] = {
    "prompts": _PLACE,
    "records": (*_PLACE, "record_id", "decision_id"),
    "rejects": (*_PLACE, "decision_id", "reason"),
    LETTERS: (*_PLACE, "letter_id", "state", "reason", "key"),
}

Positions = dict[tuple[str, int], int]
"""The next offset by topic (short name) and partition."""


class Row(NamedTuple):
    """One row, as far as an audit needs it; fields that its table lacks are empty.

    Attributes:
        key: of the original of a dead letter.
    """

    table: str
    shard: int
    offset: int
    prompt_id: str | None
    identity: str
    decision: str
    state: str
    reason: str
    key: bytes = b""


@dataclass(frozen=True, slots=True)
class Tables:
    """The whole store at one moment."""

    rows: Sequence[Row]
    positions: Positions

    def of(self, table: str) -> list[Row]:
        """Rows of one table."""
        return [row for row in self.rows if row.table == table]


def read_tables(store: Path, prefix: str, partitions: int) -> Tables:
    """Everything that the store holds now; positions are read first, so rows reach them."""
    positions = read_positions(store, prefix, partitions)
    return Tables([row for name in TOPIC_OF for row in _rows(store, name)], positions)


def read_positions(store: Path, prefix: str, partitions: int) -> Positions:
    """How far each topic's partitions are stored; those without a commit are at 0."""
    found: Positions = {}
    for name, topic in TOPIC_OF.items():
        table = _open(store, name)
        for number in range(partitions):
            app = f"promptmill/{prefix}{topic}-{number}"
            found[topic, number] = (table.transaction_version(app) if table else None) or 0
    return found


def _rows(store: Path, name: str) -> list[Row]:
    table = _open(store, name)
    if table is None:
        return []
    found = table.to_pyarrow_dataset().to_table(columns=list(_COLUMNS[name]))
    rows = found.to_pylist()
    return [_row(name, each) for each in (latest_letters(rows) if name == LETTERS else rows)]


def _row(name: str, values: Mapping[str, Any]) -> Row:
    return Row(
        name,
        values["shard"],
        values["shard_offset"],
        values["prompt_id"],
        values.get("record_id") or values.get("letter_id") or "",
        values.get("decision_id") or "",
        values.get("state") or "",
        values.get("reason") or "",
        b64decode(values.get("key") or ""),
    )


def _open(store: Path, name: str) -> DeltaTable | None:
    path = str(store / name)
    return DeltaTable(path) if DeltaTable.is_deltatable(path) else None
