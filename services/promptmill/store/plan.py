"""The plan of a flush as data: created from deliveries, then carried out part by part."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, NamedTuple, Self

import pyarrow as pa
import pyarrow.compute as pc

from promptmill.lake.identity import identify
from promptmill.lake.ports import COUNTED, Advance, Batch, TableName
from promptmill.lake.tables import TABLES, dead_letters
from promptmill.runtime.errors import reason_of
from promptmill.store.index import SettledIndex
from promptmill.store.work import rule_letter, rule_prompt, rule_record, rule_reject
from promptmill.stream.layout import DataSetLayout
from promptmill.stream.ports import Delivery, Partition
from promptmill_schemas import decode

CHUNK_ROWS = 1000
"""Rows are turned into Arrow in chunks, so that their Python objects die young."""

UNDECODABLE: Final = dead_letters.UNDECODABLE
MISPLACED: Final = "misplaced"

COMMIT_ORDER: Final = (
    TableName.PROMPTS,
    TableName.DEAD_LETTERS,
    TableName.RECORDS,
    TableName.REJECTS,
)
"""Admissions first, so that a reader never finds a settled prompt that was not published."""

_RULES: Final[dict[TableName, Any]] = {
    TableName.PROMPTS: rule_prompt,
    TableName.RECORDS: rule_record,
    TableName.REJECTS: rule_reject,
    TableName.DEAD_LETTERS: rule_letter,
}


@dataclass(frozen=True, slots=True)
class Undecodable:
    """A message that does not fit its topic's contract and must not be lost.

    It keeps only the text of the error. The error itself refers to the parsed message by its cause
    and its traceback, and a flush can have thousands of such messages.
    """

    delivery: Delivery
    reason: str
    detail: str

    @classmethod
    def of(cls, delivery: Delivery, error: Exception) -> Self:
        """Create it from a message and the error that it caused."""
        return cls(delivery, reason_of(error), str(error))


@dataclass(frozen=True, slots=True)
class Misplaced:
    """A message in another partition than the layout gives for its key."""

    delivery: Delivery
    key: bytes


@dataclass(frozen=True, slots=True)
class Plan:
    """The remaining parts of a flush, in order: dead letters, moves, commits, Kafka's offsets.

    Attributes:
        misplaced: messages that are published again to the partition of their key.
        batches: in the order of their commits; marks of dead letters are rows of that table and
            are committed before the outcomes of the replays.
        positions: the next offset of every partition, which is committed to Kafka at the end.
        counts: the number of messages by table and outcome (``kept``, or why not).
    """

    undecodable: tuple[Undecodable, ...] = ()
    misplaced: tuple[Misplaced, ...] = ()
    batches: Mapping[TableName, Batch] = field(default_factory=dict)
    positions: Mapping[Partition, int] = field(default_factory=dict)
    counts: Counter[tuple[TableName, str]] = field(default_factory=Counter)

    @property
    def shards(self) -> frozenset[int]:
        """The shards in this plan."""
        return frozenset(partition.number for partition in self.positions)

    def without(self, shards: Collection[int]) -> Plan:
        """Return the rest of the plan without these shards."""
        if self.shards.isdisjoint(shards):
            return self
        return replace(
            self,
            undecodable=tuple(
                b for b in self.undecodable if b.delivery.partition.number not in shards
            ),
            misplaced=tuple(m for m in self.misplaced if m.delivery.partition.number not in shards),
            batches={name: _batch_without(b, shards) for name, b in self.batches.items()},
            positions={p: at for p, at in self.positions.items() if p.number not in shards},
        )

    def without_batch(self, table: TableName) -> Plan:
        """Return the rest of the plan after this table's commit."""
        return replace(self, batches={n: b for n, b in self.batches.items() if n != table})


def _batch_without(batch: Batch, shards: Collection[int]) -> Batch:
    mine = pc.invert(pc.is_in(batch.rows["shard"], pa.array(sorted(shards), pa.int32())))
    advances = {shard: step for shard, step in batch.advances.items() if shard not in shards}
    counts = {key: n for key, n in batch.counts.items() if key[0] not in shards}
    return Batch(batch.rows.filter(mine), advances, counts)


def draw_up(
    deliveries: Iterable[Delivery],
    tables: Mapping[str, TableName],
    indexes: Mapping[int, SettledIndex],
    stored: Mapping[Partition, int | None],
    layout: DataSetLayout | None = None,
) -> Plan:
    """Create the plan for these deliveries, and add the kept rows to the indexes.

    Args:
        deliveries: the messages, in the order of offsets within each partition.
        tables: the tables by full topic name.
        indexes: the indexes by shard.
        stored: the next offset of each partition in its table.
        layout: the layout of the tables; without it, no message is misplaced.
    """
    draft = _Draft(tables, indexes, layout)
    for delivery in deliveries:
        draft.add(delivery)
    return draft.finish(stored)


class _Row(NamedTuple):
    """A row and the message from which it was made."""

    delivery: Delivery
    values: dict[str, Any]


def _as_table(table: TableName, rows: list[dict[str, Any]]) -> pa.Table:
    return pa.Table.from_pylist(rows, schema=TABLES[table].schema)


class _Draft:
    def __init__(
        self,
        tables: Mapping[str, TableName],
        indexes: Mapping[int, SettledIndex],
        layout: DataSetLayout | None,
    ) -> None:
        self._tables = tables
        self._indexes = indexes
        self._layout = layout
        self._misplaced: list[Misplaced] = []
        self._rows: dict[TableName, list[_Row]] = {name: [] for name in TableName}
        self._chunks: dict[TableName, list[pa.Table]] = {name: [] for name in TableName}
        self._positions: dict[Partition, int] = {}
        self._last: dict[Partition, Delivery] = {}
        self._marked: set[int] = set()
        self._unreadable: list[Undecodable] = []
        self._counts: Counter[tuple[TableName, str]] = Counter()

    def add(self, delivery: Delivery) -> None:
        """Decode one message and decide what becomes of it."""
        table = self._tables[delivery.partition.topic]
        self._positions[delivery.partition] = delivery.offset + 1
        self._last[delivery.partition] = delivery
        try:
            outcome = self._judge(table, delivery)
        except Exception as error:  # noqa: BLE001 - no message may end the store
            outcome = self._undecodable(table, delivery, error)
        self._counts[table, outcome] += 1

    def _judge(self, table: TableName, delivery: Delivery) -> str:
        spec, shard = TABLES[table], delivery.partition.number
        contract: Any = decode(spec.topic.contract, delivery.value)
        key = spec.topic.key(contract).encode()
        if self._layout is not None and self._layout.partition_of(key) != shard:
            return self._move(table, delivery, key)
        row = spec.row(contract)
        decision = _RULES[table](contract, self._indexes[shard])
        if decision.replayed is not None:
            letter_id, replays = decision.replayed
            mark = dead_letters.mark(letter_id, replays, contract, delivery)
            self._rows[TableName.DEAD_LETTERS].append(_Row(delivery, mark))
            self._marked.add(shard)
        if decision.dropped is not None:
            return str(decision.dropped)
        self._keep(table, row, delivery)
        return "kept"

    def _move(self, table: TableName, delivery: Delivery, key: bytes) -> str:
        """Move a message, but not a prompt: instruct workers move those, and a copy costs twice."""
        if table is not TableName.PROMPTS:
            self._misplaced.append(Misplaced(delivery, key))
        return MISPLACED

    def _undecodable(self, table: TableName, delivery: Delivery, error: Exception) -> str:
        """Dead-letter a message that is no contract; for prompts, instruct workers do that.

        A dead letter that cannot be decoded is stored as a row itself.
        """
        is_outside = self._layout and delivery.partition.number >= self._layout.partitions
        if table is TableName.DEAD_LETTERS and is_outside:
            return self._move(table, delivery, delivery.key or b"")
        if table is TableName.DEAD_LETTERS:
            row = dead_letters.undecodable(delivery, str(error))
            index = self._indexes[delivery.partition.number]
            index.add_letter(row["letter_id"])
            index.open_letter(row["letter_id"])
            self._keep(table, row, delivery)
        elif table is not TableName.PROMPTS:
            self._unreadable.append(Undecodable.of(delivery, error))
        return UNDECODABLE

    def _keep(self, table: TableName, row: dict[str, Any], delivery: Delivery) -> None:
        rows = self._rows[table]
        row["shard"], row["shard_offset"] = delivery.partition.number, delivery.offset
        rows.append(_Row(delivery, row))
        if len(rows) >= CHUNK_ROWS:
            self._convert(table)

    def _convert(self, table: TableName) -> None:
        rows, self._rows[table] = self._rows[table], []
        try:
            self._chunks[table].append(_as_table(table, [row.values for row in rows]))
        except Exception:  # noqa: BLE001 - one of them is to blame, and the others are stored
            for row in rows:
                self._convert_alone(table, row)

    def _convert_alone(self, table: TableName, row: _Row) -> None:
        """Convert one row after its column has refused a value; no contract is known to allow that.

        The index keeps the refused row until the shard is taken over again.
        """
        try:
            self._chunks[table].append(_as_table(table, [row.values]))
        except Exception as error:  # noqa: BLE001 - no message may end the store
            self._counts[table, "kept"] -= 1
            self._counts[table, UNDECODABLE] += 1
            self._undecodable(table, row.delivery, error)
            if table is TableName.DEAD_LETTERS:
                last = self._rows[table].pop()
                self._chunks[table].append(_as_table(table, [last.values]))

    def finish(self, stored: Mapping[Partition, int | None]) -> Plan:
        """Return the plan; ``stored`` is the same as in :func:`draw_up`."""
        advances: dict[TableName, dict[int, Advance]] = {name: {} for name in COMMIT_ORDER}
        for partition, position in self._positions.items():
            table = self._tables[partition.topic]
            last = identify(self._last[partition])
            advances[table][partition.number] = Advance(stored[partition], position, last)
        self._add_marked(advances[TableName.DEAD_LETTERS], stored)
        for table in TableName:
            self._convert(table)
        counts = self._changed_counts(advances)
        return Plan(
            undecodable=tuple(self._unreadable),
            misplaced=tuple(self._misplaced),
            batches={
                table: Batch(pa.concat_tables(self._chunks[table]), steps, counts[table])
                for table, steps in advances.items()
                if steps
            },
            positions=self._positions,
            counts=self._counts,
        )

    def _changed_counts(
        self, advances: Mapping[TableName, Mapping[int, Advance]]
    ) -> dict[TableName, dict[tuple[int, str], int]]:
        """Return changed counts by table, shard and run; each is of a shard with new rows."""
        counts = {name: {(s, COUNTED): 1 for s in steps} for name, steps in advances.items()}
        for shard in {partition.number for partition in self._positions} & self._indexes.keys():
            for (table, run), number in self._indexes[shard].counts.take_changed().items():
                counts[table][shard, run] = number
        return counts

    def _add_marked(
        self, advances: dict[int, Advance], stored: Mapping[Partition, int | None]
    ) -> None:
        """Add the marked shards; one without a message of that table keeps its position."""
        for partition, position in stored.items():
            is_letters = self._tables[partition.topic] is TableName.DEAD_LETTERS
            if is_letters and partition.number in self._marked - advances.keys():
                if position is None:  # what is marked was stored, which has moved the position
                    raise AssertionError(f"{partition}: a replay mark has no stored dead letter")
                advances[partition.number] = Advance(position, position)
