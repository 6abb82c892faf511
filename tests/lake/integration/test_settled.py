"""Which prompts the tables know as settled, and whose tables are believed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import structlog

from promptmill.kafka.cluster import describe_log
from promptmill.lake.identity import Identity
from promptmill.lake.ports import TableName
from promptmill.lake.reader import DeltaReader
from promptmill.lake.settled import SettledShard, open_outcomes, read_settled
from promptmill.lake.tables import TABLES
from promptmill.stream.ports import Partition, Position
from promptmill.stream.stage_settings import StageSettings
from promptmill.stream.start_offsets import Start
from promptmill.worker.settled import SettledPrompts
from promptmill_schemas import Contract
from support.kafka_topics import make_topics
from support.store import (
    PARTITIONS,
    DeltaStore,
    batch,
    identities,
    letter,
    pid,
    prompt,
    record,
    reject,
    table_of,
)

pytestmark = pytest.mark.real
SHARD = 1


def store_with(
    folder: Path, *contracts: Contract, of: Mapping[TableName, Identity] | None = None
) -> str:
    """The URI of a store that has taken these on one shard."""
    sink = DeltaStore(folder).sink(of)
    sink.take_over(range(PARTITIONS))
    for name in TableName:
        own = [(SHARD, at, c) for at, c in enumerate(c for c in contracts if table_of(c) is name)]
        if own:
            sink.commit(name, batch(own, {SHARD: (None, len(own))}, name))
    return str(folder)


def read(uri: str, shard: int = SHARD) -> SettledShard:
    return read_settled(open_outcomes(DeltaReader(uri), identities()), [shard])[shard]


def test_a_prompt_is_settled_by_a_decision_or_by_a_death_of_this_life(tmp_path: Path) -> None:
    uri = store_with(
        tmp_path / "store",
        *(prompt(text) for text in "abcde"),
        record("a"),
        record("a", ordinal=1),
        reject("b"),
        letter("c", replays=1),
        letter(None, offset=7),
        letter("e", offset=8),
        record("e", replays=1),
    )
    known = read(uri)
    settled = {(text, n) for text in "abcdef" for n in range(3) if known.is_settled(pid(text), n)}
    always = {(text, n) for text in "abe" for n in range(3)}
    assert settled == always | {("c", 0), ("c", 1)}
    assert len(read(uri, shard=0)) == 0


def test_tables_that_do_not_exist_settle_nothing(tmp_path: Path) -> None:
    assert len(read(str(tmp_path / "none"))) == 0


class Probe:
    """What a worker measures."""

    def __init__(self) -> None:
        self.results: Counter[str] = Counter()
        self.gauges: dict[str, Callable[[], float]] = {}

    def settled_read(self, result: str) -> None:
        self.results[result] += 1

    def watch(self, name: str, text: str, read: Callable[[], float]) -> None:
        self.gauges[name] = read


class Following:
    """A loop whose commits the test decides."""

    committed: Mapping[Partition, int] = {}

    def prepare_with(self, prepare: object) -> None:
        """The test calls it."""


@pytest.mark.parametrize(
    ("cluster", "topics", "at", "result"),
    [
        ("own", "own", 0, "read"),
        ("own", "own", 2, "unneeded"),
        ("another", "own", 0, "failed"),
        ("own", "another", 0, "failed"),
    ],
)
async def test_only_tables_of_this_cluster_and_these_topics_are_believed(
    kafka: str, unique: str, tmp_path: Path, cluster: str, topics: str, at: int, result: str
) -> None:
    prefix = f"{unique}."
    names = [prefix + spec.topic.name for spec in TABLES.values()]
    await make_topics(kafka, names, PARTITIONS)
    found = (await describe_log(kafka, names)).cluster_id
    of = {
        name: Identity(
            found if cluster == "own" else cluster,
            (prefix if topics == "own" else "another.") + spec.topic.name,
            PARTITIONS,
        )
        for name, spec in TABLES.items()
    }
    uri = store_with(tmp_path / "store", record("a"), reject("b"), of=of)
    settings = StageSettings(kafka=kafka, store=uri, topic_prefix=prefix)
    probe, loop = Probe(), Following()
    settled = SettledPrompts(settings, probe)
    settled.follow(loop)
    partition = Partition(f"{prefix}prompts", SHARD)
    loop.committed = {partition: at}
    with structlog.testing.capture_logs() as logs:
        await settled.prepare({partition: Start(Position(at), at, end=10)})
    assert probe.results == Counter([result])
    assert settled.is_settled(prompt("a")) is (result == "read")
    assert not settled.is_settled(prompt("c"))
    assert any(line["event"] == "settled_unknown" for line in logs) is (result == "failed")
    assert probe.gauges["settled_known"]() == (2 if result == "read" else 0)
    loop.committed = {partition: 10}
    assert not settled.is_settled(prompt("a")), "it is forgotten once the group has passed the end"
    assert probe.gauges["settled_known"]() == 0
