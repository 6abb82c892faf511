"""Lines a second through ``promptmill publish``, as a ratio to a bare producer of the same bytes.

Each turn is a process of its own and is timed from its start to its end. ``publish`` reads a file
of lines; the bare script reads a file of the very messages that come of them, and hands each to
an idempotent aiokafka producer with the settings that promptmill's has. They take turns in one
run, because machines are noisy. ``--flat`` publishes files of a hundredth, a tenth and all of the
lines, and compares the most memory that each took.

    python tests/bench/bench_publish.py --lines 20000 --rounds 3 --json
    python tests/bench/bench_publish.py --lines 1000000 --rounds 1 --flat
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import uvloop
from aiokafka import AIOKafkaProducer

sys.path.insert(0, str(Path(__file__).parent.parent))

from promptmill.cli.publish.lines import Defaults, parse_line
from promptmill.kafka.producer_supervisor import LINGER_MS, MAX_BATCH_BYTES
from promptmill.kafka.topics import ensure_topics, topic_specs
from promptmill_schemas import encode
from promptmill_schemas.topics import PROMPTS
from support.stack import running_stack, unique_name

TEXT = "Explain to a patient listener why the sky is blue at noon and red in the evening. " * 3
IN_FLIGHT = 8_000
KEY = slice(len('{"schema_version":1,"prompt_id":"'), len('{"schema_version":1,"prompt_id":"') + 32)


@dataclass(frozen=True)
class Turn:
    """One process.

    Attributes:
        per_s: lines, from the start of the process to its end.
        cpu_us: of the processor, for each line.
        rss_mib: the most memory that it held.
    """

    per_s: float
    cpu_us: float
    rss_mib: float


def write_lines(path: Path, lines: int) -> None:
    with path.open("wb") as file:
        file.writelines(b'{"prompt": "%d. %s"}\n' % (n, TEXT.encode()) for n in range(lines))


def write_messages(lines: Path, path: Path) -> None:
    defaults = Defaults("bench")
    with lines.open("rb") as source, path.open("wb") as file:
        file.writelines(encode(parse_line(line, defaults)) + b"\n" for line in source)


async def send_bare(kafka: str, topic: str, path: Path) -> None:
    """The script that one would write by hand, with so many messages in flight."""
    producer = AIOKafkaProducer(
        bootstrap_servers=kafka,
        acks="all",
        enable_idempotence=True,
        compression_type="lz4",
        linger_ms=LINGER_MS,
        max_batch_size=MAX_BATCH_BYTES,
    )
    await producer.start()
    waiting: deque[asyncio.Future[Any]] = deque()
    with path.open("rb") as file:
        for line in file:
            waiting.append(await producer.send(topic, line[:-1], line[KEY]))
            while waiting and (waiting[0].done() or len(waiting) >= IN_FLIGHT):
                await waiting.popleft()
    await asyncio.gather(*waiting)
    await producer.stop()


def timed(command: Sequence[str], environment: Mapping[str, str], lines: int) -> Turn:
    begin = time.perf_counter()
    process = subprocess.Popen(command, env={**os.environ, **environment}, stdout=sys.stderr)
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - begin
    assert status == 0, f"{command} ended with {os.waitstatus_to_exitcode(status)}"
    cpu_s = usage.ru_utime + usage.ru_stime
    return Turn(lines / seconds, 1e6 * cpu_s / lines, usage.ru_maxrss / 1024)


class Bench:
    """Topics and a store of each turn's own, on one broker."""

    def __init__(self, kafka: str, redis: str, folder: Path) -> None:
        self._kafka = kafka
        self._redis = redis
        self._folder = folder

    def bare(self, messages: Path, lines: int) -> Turn:
        place = self._place()
        topic = f"{place['PROMPTMILL_TOPIC_PREFIX']}{PROMPTS.name}"
        arguments = ["--bare", str(messages), "--kafka", self._kafka, "--topic", topic]
        return timed([sys.executable, __file__, *arguments], place, lines)

    def publish(self, file: Path, lines: int) -> Turn:
        arguments = ["publish", str(file), "--run", "bench", "--json"]
        receipts = ["--receipts", str(self._folder / "receipts")]
        command = [sys.executable, "-m", "promptmill.cli", *arguments, *receipts]
        return timed(command, self._place(), lines)

    def _place(self) -> dict[str, str]:
        prefix = f"{unique_name()}."
        asyncio.run(ensure_topics(self._kafka, topic_specs(prefix, brokers=1)))
        return {
            "PROMPTMILL_KAFKA": self._kafka,
            "PROMPTMILL_REDIS": self._redis,
            "PROMPTMILL_STORE": str(self._folder / prefix),
            "PROMPTMILL_TOPIC_PREFIX": prefix,
            "PROMPTMILL_HIGH_RECORDS": "1000000000",
            "PROMPTMILL_PROMPTS_HIGH_RECORDS": "1000000000",
            "PROMPTMILL_HIGH_BYTES": "1000000000000",
        }


def measure(args: argparse.Namespace, bench: Bench, folder: Path) -> dict[str, Any]:
    lines, messages = folder / "lines", folder / "messages"
    write_lines(lines, args.lines)
    write_messages(lines, messages)
    turns: dict[str, list[Turn]] = {"bare": [], "publish": []}
    for _ in range(args.rounds):
        _note(turns, "bare", bench.bare(messages, args.lines))
        _note(turns, "publish", bench.publish(lines, args.lines))
    result = {"lines": args.lines, "message_bytes": messages.stat().st_size // args.lines}
    for figure in ("per_s", "cpu_us", "rss_mib"):
        result[figure] = {n: median(getattr(t, figure) for t in ts) for n, ts in turns.items()}
    pairs = zip(turns["publish"], turns["bare"], strict=True)
    result["ratio_to_bare"] = median(ours.per_s / bare.per_s for ours, bare in pairs)
    return result | ({"rss_mib_by_lines": flat(args.lines, bench, folder)} if args.flat else {})


def flat(most: int, bench: Bench, folder: Path) -> dict[int, float]:
    found = {}
    for number in (most // 100, most // 10, most):
        write_lines(folder / "some", number)
        found[number] = bench.publish(folder / "some", number).rss_mib
    return found


def _note(turns: dict[str, list[Turn]], name: str, turn: Turn) -> None:
    turns[name].append(turn)
    print(
        f"{name:8} {turn.per_s:8,.0f} lines/s {turn.cpu_us:5.0f} µs of processor each, "
        f"{turn.rss_mib:.0f} MiB",
        file=sys.stderr,
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--lines", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--flat", action="store_true", help="also compare memory by lines")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--bare", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--kafka", help=argparse.SUPPRESS)
    parser.add_argument("--topic", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.bare:
        uvloop.run(send_bare(args.kafka, args.topic, args.bare))
        return
    with tempfile.TemporaryDirectory() as name, running_stack(Path(name) / "stack") as stack:
        result = measure(args, Bench(stack.kafka, stack.redis, Path(name)), Path(name))
    if args.json:
        print(json.dumps(result))
    else:
        print(f"{result['ratio_to_bare']:.2f} of a bare producer")
        for number, rss in result.get("rss_mib_by_lines", {}).items():
            print(f"{number:10,} lines: {rss:.0f} MiB at most")


if __name__ == "__main__":
    main()
