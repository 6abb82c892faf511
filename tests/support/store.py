"""Messages, rows and tables for tests of the store."""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa
from deltalake import DeltaTable

from promptmill.lake.identity import Identity
from promptmill.lake.ports import Advance, Batch, Sink, Step, TableName, no_step
from promptmill.lake.sink import DeltaSink
from promptmill.lake.tables import TABLES
from promptmill.testing.lake import MemorySink, MemoryStore
from promptmill_schemas import (
    AttributeScores,
    Check,
    Contract,
    DeadLetter,
    FailedCandidate,
    Generator,
    Message,
    Prompt,
    Record,
    Reject,
    Sampling,
    Scorer,
)
from promptmill_schemas.ids import digest, letter_id, record_id

PARTITIONS = 4
CLUSTER = "cluster-of-the-tests"
AT = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
GENERATOR = Generator(engine="scripted", model="none")
SCORER = Scorer(engine="scripted", model="none")
SCORES = AttributeScores(
    helpfulness=3.0, correctness=3.0, coherence=3.5, complexity=1.0, verbosity=1.0
)


def identities(cluster: str = CLUSTER, partitions: int = PARTITIONS) -> dict[TableName, Identity]:
    """The topics of the tests, under their own names."""
    return {name: Identity(cluster, spec.topic.name, partitions) for name, spec in TABLES.items()}


def prompt(text: str, run: str = "test", replays: int = 0) -> Prompt:
    """A prompt of this text."""
    made = Prompt.create(run, (Message(role="user", content=text),), created_at=AT)
    return made.model_copy(update={"replays": replays})


def pid(text: str, run: str = "test") -> str:
    """The id of :func:`prompt` with this text."""
    return prompt(text, run).prompt_id


def record(
    text: str, *, decision: str = "first", ordinal: int = 0, replays: int = 0, pad: int = 0
) -> Record:
    """The accepted record of a prompt of this text."""
    answer = f"answer {ordinal} to {text} by {decision}" + "." * pad
    return Record(
        record_id=record_id(pid(text), "sft", answer),
        prompt_id=pid(text),
        decision_id=digest("decision", text, decision),
        run="test",
        kind="sft",
        ordinal=ordinal,
        messages=(
            Message(role="user", content=text),
            Message(role="assistant", content=answer),
        ),
        chosen=answer,
        scores=SCORES,
        reward=4.0,
        sampling=Sampling(),
        tags={"domain": "tests"},
        generator=GENERATOR,
        scorer=SCORER,
        policy_version="p-1",
        replays=replays,
        created_at=AT,
    )


def reject(text: str, *, decision: str = "first", replays: int = 0) -> Reject:
    """The refusal of a prompt of this text."""
    check = Check(name="reward", value=1.0, limit=2.0, margin=-1.0)
    answer = FailedCandidate(
        index=0, text="no", finish_reason="stop", completion_tokens=1, checks=(check,)
    )
    return Reject(
        prompt_id=pid(text),
        decision_id=digest("decision", text, decision),
        run="test",
        reason="below_limit",
        detail="reward 1.0 is below 2.0",
        messages=(Message(role="user", content=text),),
        candidates=(answer,),
        sampling=Sampling(),
        generator=GENERATOR,
        scorer=SCORER,
        policy_version="p-1",
        replays=replays,
        created_at=AT,
    )


def letter(
    text: str | None, *, replays: int = 0, offset: int = 0, state: str = "dead"
) -> DeadLetter:
    """The dead letter of a prompt of this text; ``None``: of bytes that held no id."""
    return DeadLetter(
        letter_id=letter_id("prompts", 0, offset, replays),
        state="dead" if state == "dead" else "replayed",
        prompt_id=None if text is None else pid(text),
        run=None if text is None else "test",
        stage="instruct",
        topic="prompts",
        partition=0,
        offset=offset,
        value="aGVsbG8=",
        reason="deadline",
        detail="took too long",
        attempts=3,
        replays=replays,
        created_at=AT,
    )


def table_of(contract: Contract) -> TableName:
    """Where a contract's rows go."""
    return next(name for name, spec in TABLES.items() if isinstance(contract, spec.topic.contract))


def rows(
    messages: Iterable[tuple[int, int, Contract]], table: TableName = TableName.RECORDS
) -> pa.Table:
    """``(shard, offset, message)`` as rows of one table."""
    spec = TABLES[table]
    made = [
        spec.row(contract) | {"shard": shard, "shard_offset": offset}
        for shard, offset, contract in messages
    ]
    return pa.Table.from_pylist(made, schema=spec.schema)


def batch(
    messages: Iterable[tuple[int, int, Contract]],
    steps: Mapping[int, tuple[int | None, int]],
    table: TableName = TableName.RECORDS,
) -> Batch:
    """A commit of these messages; ``steps`` are ``(expected, next)`` by shard."""
    advances = {shard: Advance(*step) for shard, step in steps.items()}
    return Batch(rows(messages, table), advances)


class AnyStore(Protocol):
    """A store that a test writes with several sinks and reads back."""

    def sink(self, of: Mapping[TableName, Identity] | None = None, step: Step = no_step) -> Sink:
        """Another writer, opened."""

    def rows(self, table: TableName) -> list[dict[str, Any]]:
        """Everything in the table, in the order of shard and offset."""


class SharedStore:
    """In memory."""

    def __init__(self) -> None:
        self.memory = MemoryStore()

    def sink(self, of: Mapping[TableName, Identity] | None = None, step: Step = no_step) -> Sink:
        """Another writer, opened."""
        sink = MemorySink(self.memory, of or identities(), step=step)
        sink.open()
        return sink

    def fail_by_chance(self, rng: random.Random, chance: float) -> None:
        """Let the next write find no room, now and then."""
        if rng.random() < chance:
            self.memory.failures = 1

    def rows(self, table: TableName) -> list[dict[str, Any]]:
        """Everything in the table, in the order of shard and offset."""
        return _in_order(self.memory.tables[table].rows)


class DeltaStore:
    """On disk."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def sink(self, of: Mapping[TableName, Identity] | None = None, step: Step = no_step) -> Sink:
        """Another writer, opened."""
        sink = DeltaSink(str(self.folder), of or identities(), step=step)
        sink.open()
        return sink

    def rows(self, table: TableName) -> list[dict[str, Any]]:
        """Everything in the table, read without the project's code."""
        return _in_order(DeltaTable(str(self.folder / table)).to_pyarrow_table())


def _in_order(rows: pa.Table) -> list[dict[str, Any]]:
    ordered = rows.sort_by([("shard", "ascending"), ("shard_offset", "ascending")]).to_pylist()
    return [dict(row) for row in ordered]
