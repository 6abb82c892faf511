"""The indexes of shards, read from real tables, hold what each row of the tables says."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from promptmill.lake.compaction import compact
from promptmill.lake.ports import Advance, Batch, TableName
from promptmill.lake.sink import DeltaSink
from promptmill.lake.tables.dead_letters import DEAD, REPLAYED
from promptmill.runtime.errors import Unavailable
from promptmill.store.index import PromptState, SettledIndex, State
from promptmill.store.loading import load_indexes
from promptmill_schemas import Contract
from support.store import DeltaStore, identities, letter, prompt, record, reject, rows, table_of

pytestmark = pytest.mark.real

SHARDS = range(12)
RUNS = ("one", "two", "three")
STATES = {
    TableName.PROMPTS: State.PUBLISHED,
    TableName.RECORDS: State.ACCEPTED,
    TableName.REJECTS: State.REJECTED,
    TableName.DEAD_LETTERS: State.DEAD,
}


def fill(folder: Path, rng: random.Random, commits: int = 12) -> DeltaStore:
    """A store with rows of all shards, runs and kinds in each commit, some of them merged."""
    store = DeltaStore(folder)
    sink = DeltaSink(str(folder), identities(partitions=len(SHARDS)))
    sink.open()
    sink.take_over(SHARDS)
    stored: dict[tuple[TableName, int], int] = defaultdict(int)
    for number in range(commits):
        made: dict[TableName, list[tuple[int, Contract]]] = {name: [] for name in TableName}
        for contract in (some_message(rng, number) for _ in range(60)):
            made[table_of(contract)].append((rng.choice(SHARDS), contract))
        for name, messages in made.items():
            placed: list[tuple[int, int, Contract]] = []
            steps: dict[int, int] = {}
            for shard, contract in messages:
                steps.setdefault(shard, stored[name, shard])
                placed.append((shard, stored[name, shard], contract))
                stored[name, shard] += 1
            advances = {s: Advance(at or None, stored[name, s]) for s, at in steps.items()}
            sink.commit(name, Batch(rows(placed, name), advances))
        if number == commits // 2:
            for name in TableName:
                compact(str(folder / name), growth=1)
    return store


def some_message(rng: random.Random, number: int) -> Contract:
    """A message about one of many prompts, which several messages may be about."""
    text, run, replays = f"{rng.randrange(150)}", rng.choice(RUNS), rng.randrange(3)
    decision = rng.choice(("first", "second"))
    made: Contract = rng.choice(
        (
            prompt(text),
            record(text, decision=decision, ordinal=rng.randrange(3), replays=replays),
            reject(text, decision=decision, replays=replays),
            letter(text, replays=replays, offset=int(text)),
            letter(text, replays=replays, offset=int(text), state=REPLAYED),
            letter(None, offset=1000 + number),
        )
    )
    # One prompt may be in several runs here, so that each run's count is checked on its own.
    return made if getattr(made, "run", None) is None else made.model_copy(update={"run": run})


def settlements(stored: Mapping[TableName, list[dict[str, Any]]]) -> dict[str, PromptState]:
    """The state of each prompt of a shard, row by row."""
    found: dict[str, PromptState] = defaultdict(PromptState)
    for name, of_table in stored.items():
        for row in of_table:
            if row["prompt_id"] is None:
                continue
            decision = int((row.get("decision_id") or "0")[:16], 16)
            replays = row["replays"] if name is TableName.DEAD_LETTERS else 0
            new = PromptState(STATES[name], decision, replays)
            found[row["prompt_id"]] = found[row["prompt_id"]].joined(new)
    return found


def counts(of_table: list[dict[str, Any]], name: TableName) -> dict[str, int]:
    """The numbers of a shard by run, row by row."""
    by_run: dict[str, list[str]] = defaultdict(list)
    for row in of_table:
        by_run[row["run"]].append(row["prompt_id"])
    distinct = name is TableName.RECORDS
    return {run: len(set(ids) if distinct else ids) for run, ids in by_run.items()}


def check(index: SettledIndex, stored: Mapping[TableName, list[dict[str, Any]]]) -> None:
    """Compare an index with the rows of its shard."""
    expected = settlements(stored)
    assert len(index) == len(expected)
    for identity, settlement in expected.items():
        assert index.prompt_state(identity) == settlement
    for row in stored[TableName.RECORDS]:
        assert index.has_record(row["record_id"])
    for name in (TableName.PROMPTS, TableName.RECORDS, TableName.REJECTS):
        assert index.counts.of(name) == counts(stored[name], name)
    letters = stored[TableName.DEAD_LETTERS]
    replayed = {row["letter_id"] for row in letters if row["state"] != DEAD}
    opened = [row for row in letters if row["letter_id"] not in replayed]
    assert set(index.open_letters) <= {int(row["letter_id"], 16) for row in opened}
    of_prompts = {row["prompt_id"] for row in opened}
    assert len(index.open_letters) == len(of_prompts - {None}) + len(
        {row["letter_id"] for row in opened if row["prompt_id"] is None}
    )
    for row in opened:
        if row["prompt_id"] is None:
            assert index.has_letter(row["letter_id"])
    assert sum(index.counts.of(TableName.DEAD_LETTERS).values()) == len(of_prompts - {None})


@pytest.mark.parametrize("shards", [list(SHARDS), [3], [2, 3, 4], [0, 5, 11]], ids=str)
def test_indexes_hold_what_the_rows_of_their_shards_say(shards: list[int], tmp_path: Path) -> None:
    store = fill(tmp_path / "store", random.Random(len(shards)))
    sink = DeltaSink(str(store.folder), identities(partitions=len(SHARDS)))
    sink.open()
    indexes = load_indexes(sink, shards)
    assert sorted(indexes) == shards
    rows_of = {name: store.rows(name) for name in TableName}
    for shard, index in indexes.items():
        mine = {n: [row for row in rows_of[n] if row["shard"] == shard] for n in TableName}
        assert any(mine.values())
        check(index, mine)


def test_a_missing_file_is_an_outage_and_not_fewer_rows(tmp_path: Path) -> None:
    store = fill(tmp_path / "store", random.Random(7))
    sink = DeltaSink(str(store.folder), identities(partitions=len(SHARDS)))
    sink.open()
    for file in (store.folder / TableName.REJECTS).glob("*.parquet"):
        file.unlink()
    with pytest.raises(Unavailable, match="rejects"):
        load_indexes(sink, SHARDS)
