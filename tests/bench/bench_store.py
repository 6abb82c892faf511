"""What storing costs, beside the ceiling: bare ``write_deltalake`` of the same rows.

Rows a second of 2 KiB records through decoding, rules, Arrow and a fenced commit, and through
the whole sink loop; the latency of small commits as the log grows; the index's bytes and time.
Ceiling and flush take turns in one run, because machines are noisy; the ratio of their
processor time holds on a busy machine too.

    python tests/bench/bench_store.py --records 40000 --json
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from hashlib import blake2b
from pathlib import Path
from typing import Any

import pyarrow as pa
import uvloop
from deltalake import DeltaTable, WriterProperties, write_deltalake

sys.path.insert(0, str(Path(__file__).parent.parent))

from promptmill.lake.ids import words_of
from promptmill.lake.ports import Advance, Batch, TableName
from promptmill.lake.sink import DeltaSink
from promptmill.lake.tables import TABLES, records
from promptmill.runtime.memory import tune_garbage_collection
from promptmill.store.index import Entries, SettledIndex, State
from promptmill.store.limits import SinkLimits
from promptmill.store.plan import draw_up
from promptmill.stream.ports import Delivery, Partition
from promptmill_schemas import (
    AttributeScores,
    Generator,
    Message,
    Record,
    Sampling,
    Scorer,
    encode,
)
from promptmill_schemas.ids import digest
from support.fake_source import Log, every_partition
from support.sink_loop import member
from support.store import PARTITIONS, identities
from support.waiting import eventually

RECORDS = TableName.RECORDS
TOPICS = {spec.topic.name: name for name, spec in TABLES.items()}
RECORD_BYTES = 2048
FLUSH = 10_000


def make_records(count: int) -> list[bytes]:
    """Messages of 2 KiB with texts that compress as prose does."""
    rng = random.Random(1)
    words = ["".join(rng.choices("etaoinshrdlu", k=rng.randint(2, 9))) for _ in range(4000)]
    text = " ".join(rng.choices(words, k=RECORD_BYTES * 4))
    return [_record(number, text, rng) for number in range(count)]


def _record(number: int, text: str, rng: random.Random) -> bytes:
    start = rng.randrange(len(text) // 2)
    question, answer = text[start : start + 200], text[start + 300 : start + 500]
    filler = text[start + 500 : start + 500 + 300]
    scores = AttributeScores(
        helpfulness=rng.random(), correctness=1, coherence=1, complexity=1, verbosity=1
    )
    return encode(
        Record(
            record_id=digest("record", number),
            prompt_id=digest("prompt", number),
            decision_id=digest("decision", number),
            run="bench",
            kind="sft",
            messages=(
                Message(role="user", content=question),
                Message(role="assistant", content=answer + filler),
            ),
            chosen=answer + filler,
            scores=scores,
            reward=rng.random(),
            sampling=Sampling(),
            tags={"domain": "bench"},
            generator=Generator(engine="scripted", model="none"),
            scorer=Scorer(engine="scripted", model="none"),
            policy_version="bench@1",
            created_at=datetime.now(UTC),
        )
    )


def deliveries(values: list[bytes], start: int) -> list[Delivery]:
    """One flush, spread over the shards."""
    return [
        Delivery(Partition("records", index % PARTITIONS), start + index // PARTITIONS, None, value)
        for index, value in enumerate(values)
    ]


class Flushes:
    """Decoding, rules, Arrow and commit, without a loop around them."""

    def __init__(self, folder: str) -> None:
        self.sink = DeltaSink(folder, identities())
        self.sink.open()
        self.sink.take_over(range(PARTITIONS))
        self.indexes = {shard: SettledIndex() for shard in range(PARTITIONS)}
        self.stored: dict[Partition, int | None] = dict.fromkeys(every_partition())
        self.drawing_s = 0.0

    def run(self, values: list[bytes]) -> pa.Table:
        """Store them; their rows."""
        start = self.stored[Partition("records", 0)] or 0
        began = time.perf_counter()
        plan = draw_up(deliveries(values, start), TOPICS, self.indexes, self.stored)
        self.drawing_s += time.perf_counter() - began
        self.sink.commit(RECORDS, plan.batches[RECORDS])
        self.stored |= plan.positions
        return plan.batches[RECORDS].rows


def measure_flushes(folder: Path, values: list[bytes]) -> dict[str, float]:
    """Ceiling and flush in turns; rows a second."""
    flushes = Flushes(str(folder / "store"))
    bare = DeltaTable.create(str(folder / "bare"), records.SCHEMA)
    writer = WriterProperties(compression="ZSTD", compression_level=1)
    spent, ceiling, flush_cpu, bare_cpu = [], [], [], []
    for start in range(0, len(values), FLUSH):
        part = values[start : start + FLUSH]
        flush_cpu.append(_cpu_s())
        took, rows = _timed(partial(flushes.run, part))
        flush_cpu[-1] = _cpu_s() - flush_cpu[-1]
        spent.append(took / len(part))
        write = partial(write_deltalake, bare, rows, mode="append", writer_properties=writer)
        bare_cpu.append(_cpu_s())
        ceiling.append(_timed(write)[0] / len(part))
        bare_cpu[-1] = _cpu_s() - bare_cpu[-1]
    flush, bound = 1 / statistics.median(spent), 1 / statistics.median(ceiling)
    return {
        "flush_rows_per_s": round(flush),
        "bare_write_rows_per_s": round(bound),
        "flush_over_bare": round(flush / bound, 3),
        "flush_cpu_us_per_row": round(sum(flush_cpu) / len(values) * 1e6, 1),
        "bare_write_cpu_us_per_row": round(sum(bare_cpu) / len(values) * 1e6, 1),
        "drawing_us_per_row": round(flushes.drawing_s / len(values) * 1e6, 1),
    }


async def measure_loop(folder: Path, values: list[bytes]) -> dict[str, float]:
    """The whole sink loop, from a source that is always ahead."""
    log = Log()
    for delivery in deliveries(values, 0):
        log.put_raw(delivery.partition, delivery.value)
    sink = DeltaSink(str(folder / "loop"), identities())
    async with member(log, sink, replace(SinkLimits(), flush_rows=FLUSH)) as one:
        await one.source.assign(every_partition())
        await one.loop.joined.wait()
        began = time.perf_counter()
        await eventually(lambda: one.probe.done == len(values), 600)
        took = time.perf_counter() - began
    return {"loop_rows_per_s": round(len(values) / took)}


def measure_latency(folder: Path, values: list[bytes], commits: int) -> dict[str, float]:
    """Commits of ten rows, one after the other, alone and beside another sink."""
    flushes = Flushes(str(folder / "latency"))
    other = DeltaSink(str(folder / "latency"), identities())
    other.open()
    alone = [_timed(lambda: flushes.run(values[:10]))[0] for _ in range(commits)]
    disturbed = []
    for number in range(commits // 2):
        step = Advance(number or None, number + 1)
        if number == 0:
            other.take_over([PARTITIONS])
        other.commit(RECORDS, Batch(records.SCHEMA.empty_table(), {PARTITIONS: step}))
        disturbed.append(_timed(lambda: flushes.run(values[:10]))[0])
    return {
        "commit_p50_ms": round(statistics.median(alone) * 1e3, 1),
        "commit_p99_ms": round(statistics.quantiles(alone, n=100)[98] * 1e3, 1),
        "commit_beside_another_p50_ms": round(statistics.median(disturbed) * 1e3, 1),
    }


def measure_index(prompts: int) -> dict[str, float]:
    """Bytes and times of an index over prompts with one record each."""
    ids = [
        blake2b(number.to_bytes(8, "big"), digest_size=16).hexdigest() for number in range(prompts)
    ]
    high, low = words_of(pa.array(ids, pa.string()))
    index = SettledIndex()
    index.load(Entries.of(high, low, State.PUBLISHED))
    index.load(Entries.of(high, low, State.ACCEPTED, decision=high), records=high)
    merging, _ = _timed(index.merge)
    sample = random.Random(2).sample(ids, min(50_000, prompts))
    looking, _ = _timed(lambda: [index.prompt_state(each) for each in sample])
    fresh = [digest("new", number) for number in range(len(sample))]
    noting, _ = _timed(partial(_note_all, index, fresh))
    return {
        "index_bytes_per_prompt": round(index.nbytes / len(index), 1),
        "index_merge_s": round(merging, 2),
        "index_lookup_us": round(looking / len(sample) * 1e6, 2),
        "index_note_us": round(noting / len(sample) * 1e6, 2),
    }


def _note_all(index: SettledIndex, prompts: list[str]) -> None:
    for each in prompts:
        index.note(each, State.ACCEPTED, decision_id=each)


def _cpu_s() -> float:
    """Processor time of all threads."""
    return time.process_time()


def _timed(act: Callable[[], Any]) -> tuple[float, Any]:
    began = time.perf_counter()
    result = act()
    return time.perf_counter() - began, result


def main() -> None:
    """Run all of it and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=40_000)
    parser.add_argument("--commits", type=int, default=200)
    parser.add_argument("--prompts", type=int, default=1_000_000)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    tune_garbage_collection()
    values = make_records(args.records)
    figures: dict[str, float] = {"record_bytes": round(statistics.mean(map(len, values)))}
    with tempfile.TemporaryDirectory() as folder:
        figures |= measure_flushes(Path(folder), values)
        figures |= uvloop.run(measure_loop(Path(folder), values))
        figures |= measure_latency(Path(folder), values, args.commits)
    figures |= measure_index(args.prompts)
    if args.json:
        print(json.dumps(figures))
        return
    for name, value in figures.items():
        print(f"{name:32}{value:>14,}")


if __name__ == "__main__":
    main()
