"""A log with every kind of message, and the outcomes that must come out of it in any order."""

from __future__ import annotations

from base64 import b64encode

from promptmill.stream.ports import Partition
from support.fake_source import Log
from support.store import PARTITIONS, letter, pid, prompt, record, reject
from support.store_audit import Expected


def make_mixed_log(prompts: int) -> tuple[Log, Expected]:
    """Prompts in five families, with the duplicates that redelivery brings."""
    log, expected = Log(), Expected()
    for number in range(prompts):
        text, shard = f"prompt {number}", number % PARTITIONS
        log.put(shard, prompt(text))
        expected.published.add(pid(text))
        FAMILIES[number % len(FAMILIES)](log, shard, text, number, expected)
    return log, expected


def _accepted(log: Log, shard: int, text: str, _number: int, expected: Expected) -> None:
    log.put(shard, record(text), record(text, ordinal=1), record(text))
    expected.accepted.add(pid(text))


def _rejected(log: Log, shard: int, text: str, _number: int, expected: Expected) -> None:
    log.put(shard, reject(text), reject(text))
    expected.rejected.add(pid(text))


def _dead(log: Log, shard: int, text: str, number: int, expected: Expected) -> None:
    log.put(shard, prompt(text), letter(text, offset=number), letter(text, offset=number))
    expected.dead.add(pid(text))


def _replayed(log: Log, shard: int, text: str, number: int, expected: Expected) -> None:
    log.put(shard, letter(text, offset=number))
    log.put(shard, letter(text, offset=number, state="replayed"), record(text, replays=1))
    expected.accepted.add(pid(text))


def _replayed_in_vain(log: Log, shard: int, text: str, number: int, expected: Expected) -> None:
    log.put(shard, letter(text, offset=number), letter(text, offset=number, replays=1))
    expected.dead.add(pid(text))


FAMILIES = (_accepted, _rejected, _dead, _replayed, _replayed_in_vain)


def encode_log(log: Log) -> dict[str, list[str]]:
    """A log as JSON."""
    return {
        f"{topic}-{shard}": [b64encode(value or b"").decode() for value in values]
        for (topic, shard), values in log.messages.items()
    }


def ends_of(log: Log) -> dict[tuple[str, int], int]:
    """The offset after the last message, by topic and partition."""
    return {(topic, shard): log.end(Partition(topic, shard)) for topic, shard in log.messages}
