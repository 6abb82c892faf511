"""Tokens a second of an instruct worker, as a ratio to a bare ``vllm.LLM.chat`` in the same run.

Both answer the same prompts with the same seeds, the same model, the same limits and as many
threads. The worker reads them from a topic, answers them, publishes the completions and commits
what is done; the bare script has them in a list and does nothing with the answers. It lives in a
process of its own, since vLLM holds one engine in a process; they take turns, because machines
are noisy. Without ``--kafka`` the topic is in memory.

    python tests/bench/bench_vllm.py --rounds 5
    python tests/bench/bench_vllm.py --kafka 127.0.0.1:9092 --json
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

import structlog
import uvloop

from bench.bare_vllm import Bare, Load, Pace, bare_process
from promptmill.inference.vllm.environment import prepare_environment
from promptmill.inference.vllm.generate import VllmGenerator
from promptmill.instruct.settings import InstructSettings
from promptmill.instruct.work import Instruct
from promptmill.kafka.consumer import KafkaSource
from promptmill.kafka.sender import KafkaSender
from promptmill.runtime.memory import tune_garbage_collection
from promptmill.stream.loop import StreamLoop
from promptmill.stream.ports import Sender, Source
from promptmill.stream.stage_settings import parse_settings
from promptmill.testing.broker import MemoryBroker, MemorySender, MemorySource
from promptmill_demo.models.untrained import make_untrained_models
from promptmill_schemas import Prompt, encode
from promptmill_schemas.topics import COMPLETIONS, DEAD_LETTERS, PROMPTS
from support.kafka_topics import make_topics
from support.waiting import eventually

PARTITIONS = 8


class Tally:
    """Counts tokens and settled records, and tells of the last one: polling would cost time."""

    def __init__(self, records: int) -> None:
        self.completion = 0
        self.all_settled = asyncio.Event()
        self._left = records

    def tokens(self, *, prompt: int, completion: int) -> None:
        self.completion += completion

    def settled(self, outcome: str, reason: str, seconds: float) -> None:
        assert outcome == "emit", reason
        self._left -= 1
        if self._left == 0:
            self.all_settled.set()

    def retried(self, reason: str) -> None:
        raise AssertionError(f"nothing is retried here: {reason}")


@dataclass
class Topic:
    """Where the worker's prompts are, and its connections to them."""

    source: Source
    sender: Sender
    prefix: str = ""


async def memory_topic(prompts: Sequence[Prompt]) -> Topic:
    broker = MemoryBroker(PARTITIONS)
    for prompt in prompts:
        broker.append(PROMPTS.name, prompt.prompt_id.encode(), encode(prompt))
    return Topic(MemorySource(broker, "bench", [PROMPTS.name]), MemorySender(broker))


async def kafka_topic(kafka: str, prompts: Sequence[Prompt]) -> Topic:
    prefix = f"bench{uuid.uuid4().hex[:6]}."
    names = [prefix + topic.name for topic in (PROMPTS, COMPLETIONS, DEAD_LETTERS)]
    await make_topics(kafka, names, PARTITIONS)
    publisher = KafkaSender(kafka, client_id="publisher")
    await publisher.start()
    await asyncio.gather(
        *(publisher.send(names[0], p.prompt_id.encode(), encode(p)) for p in prompts)
    )
    await publisher.stop()
    source = KafkaSource(kafka, f"{prefix}bench", [names[0]], client_id="bench")
    return Topic(source, KafkaSender(kafka, client_id="bench"), prefix)


async def worker_round(engine: VllmGenerator, topic: Topic, load: Load) -> Pace:
    """An instruct worker, timed from its first record to the last that is settled."""
    settings = parse_settings(InstructSettings, ["--sequences", str(load.sequences)], "")
    tally = Tally(load.prompts)
    loop = StreamLoop(
        topic.source,
        topic.sender,
        Instruct(engine, tally),
        stage="instruct",
        topic=PROMPTS,
        settings=settings.loop_settings(),
        probe=tally,
        prefix=topic.prefix,
    )
    task = asyncio.create_task(loop.run())
    await eventually(lambda: loop.in_flight > 0, 60)
    start, busy = time.perf_counter(), time.process_time()
    await asyncio.wait(
        {task, done := asyncio.create_task(tally.all_settled.wait())},
        return_when=asyncio.FIRST_COMPLETED,
    )
    seconds, cpu_s = time.perf_counter() - start, time.process_time() - busy
    done.cancel()
    loop.stop()
    await task
    return Pace(tally.completion, seconds, cpu_s)


async def measure(args: argparse.Namespace, load: Load, bare: Bare) -> dict[str, Any]:
    engine = VllmGenerator(load.options)
    await engine.start()
    tune_garbage_collection()
    paces: dict[str, list[Pace]] = {"bare": [], "worker": []}
    try:
        for number in range(args.rounds + 1):
            run = f"round{number}"
            prompts = load.prompts_of(run)
            topic = await (
                kafka_topic(args.kafka, prompts) if args.kafka else memory_topic(prompts)
            )
            pair = {
                "bare": await asyncio.to_thread(bare.round, run),
                "worker": await worker_round(engine, topic, load),
            }
            for name, pace in pair.items():
                note = "" if number else "  (warm-up, not counted)"
                print(f"{name:8} {pace.tokens_per_s:8,.0f} tokens/s{note}", file=sys.stderr)
                paces[name] += [pace] if number else []
    finally:
        await engine.close()
    return summary(args, load, paces)


def summary(args: argparse.Namespace, load: Load, paces: dict[str, list[Pace]]) -> dict[str, Any]:
    """Medians; a ratio is that of one round, whose two halves have had the same neighbours."""
    pairs = list(zip(paces["worker"], paces["bare"], strict=True))
    ratios = [ours.tokens_per_s / bare.tokens_per_s for ours, bare in pairs]

    def median_of(figure: Callable[[Pace], float]) -> dict[str, float]:
        return {name: statistics.median(map(figure, found)) for name, found in paces.items()}

    return {
        **asdict(load),
        "topic": "kafka" if args.kafka else "memory",
        "threads": int(os.environ["OMP_NUM_THREADS"]),
        "tokens": median_of(lambda pace: pace.tokens),
        "tokens_per_s": median_of(lambda pace: pace.tokens_per_s),
        "cpu_s": median_of(lambda pace: pace.cpu_s),
        "ratios": ratios,
        "ratio_to_bare": statistics.median(ratios),
        "cpu_ratio_to_bare": statistics.median(bare.cpu_s / ours.cpu_s for ours, bare in pairs),
    }


def show(result: dict[str, Any]) -> None:
    """A table for people."""
    print(f"{'':8} {'tokens':>9} {'tokens/s':>9} {'processor s':>12}")
    for name in ("bare", "worker"):
        tokens, rate, cpu = (result[key][name] for key in ("tokens", "tokens_per_s", "cpu_s"))
        print(f"{name:8} {tokens:9,.0f} {rate:9,.0f} {cpu:12.1f}")
    print(
        f"the worker reaches {result['ratio_to_bare']:.3f} of bare vLLM "
        f"(topic: {result['topic']}), and "
        f"{result['cpu_ratio_to_bare']:.3f} for each second of processor"
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--model", default="", help="folder; an untrained one is made if empty")
    parser.add_argument("--kafka", default="", help="bootstrap servers; in memory if empty")
    parser.add_argument("--prompts", type=int, default=1_000)
    parser.add_argument("--candidates", type=int, default=1, help="of each prompt")
    parser.add_argument("--max-tokens", type=int, default=256)
    parser.add_argument("--repeat", type=int, default=2, help="length of the prompts")
    parser.add_argument("--sequences", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    names = [field.name for field in fields(Load)]
    load = Load(**{name: value for name, value in vars(args).items() if name in names})
    prepare_environment(load.options, in_process=True)  # before torch counts its threads
    with tempfile.TemporaryDirectory() as folder:
        model = args.model or str(make_untrained_models(Path(folder)).instruct)
        load = replace(load, model=model)
        with bare_process(load) as bare:
            result = uvloop.run(measure(args, load, bare))
    if args.json:
        print(json.dumps(result))
    else:
        show(result)


if __name__ == "__main__":
    main()
