"""Publishers on a real Kafka and a real Redis wait while the topic of prompts holds too much."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import orjson
import pytest

from cli.integration.conftest import LagReader, Place
from promptmill.devstack.ports import free_port
from promptmill.devstack.redis import RedisServer
from promptmill.flow.board import FlowKeys
from promptmill.flow.lags import TopicLag
from promptmill.flow.measure import READERS
from promptmill.flow.publishers import Publishers
from promptmill.runtime.errors import Unavailable
from promptmill.runtime.redis_client import connect
from promptmill_schemas.topics import PROMPTS
from support.commands import Promptmill
from support.lost_prompts import consume_in_vain
from support.waiting import eventually, eventually_now

pytestmark = pytest.mark.real
HIGH = 20


@pytest.fixture(autouse=True)
def low_marks(monkeypatch: pytest.MonkeyPatch, promptmill: Promptmill) -> None:
    """Above 20 prompts publishers wait, down to 10; the commands' fixture clears the rest."""
    monkeypatch.setenv("PROMPTMILL_PROMPTS_HIGH_RECORDS", str(HIGH))


def lines(path: Path, number: int) -> Path:
    path.write_bytes(b"".join(b'{"prompt": "Question %d?"}\n' % n for n in range(number)))
    return path


@contextmanager
def publishing(
    place: Place, *arguments: object, **settings: str
) -> Iterator[subprocess.Popen[bytes]]:
    """``promptmill publish`` as a process."""
    environment = {
        **os.environ,
        "PROMPTMILL_HOME": str(place.stack.home),
        "PROMPTMILL_TOPIC_PREFIX": place.prefix,
        "PROMPTMILL_STORE": place.store,
        "PROMPTMILL_PROMPTS_HIGH_RECORDS": str(HIGH),
        **settings,
    }
    command = [sys.executable, "-m", "promptmill.cli", "publish", *map(str, arguments)]
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        try:
            yield process
        finally:
            process.kill()


@pytest.fixture
def own_redis(tmp_path: Path) -> Iterator[RedisServer]:
    """A server that a test may stop."""
    server = RedisServer(tmp_path / "redis", free_port())
    server.start()
    try:
        server.wait_ready()
        yield server
    finally:
        server.kill()


@pytest.fixture
def own_reader(place: Place, own_redis: RedisServer) -> Iterator[LagReader]:
    """The elected reader of the server that a test may stop."""
    reader = LagReader(place, own_redis.url)
    yield reader
    reader.end()


def waiting(records: int) -> TopicLag:
    """So many prompts wait before the workers."""
    return TopicLag(PROMPTS.name, records, seconds=60.0)


def held_publishers(promptmill: Promptmill) -> object:
    return promptmill("status", "--run", "r", "--json").json["held_publishers"]


def count(place: Place) -> int:
    return len(place.read(PROMPTS))


def test_without_waiting_it_ends_at_the_mark_and_says_why(
    promptmill: Promptmill, place: Place, tmp_path: Path
) -> None:
    file, receipts = lines(tmp_path / "in", 50), tmp_path / "receipts"
    arguments = ("publish", file, "--run", "r", "--json", "--no-wait", "--receipts", receipts)
    done = promptmill(*arguments)
    assert (done.code, done.json["published"]) == (5, HIGH)
    held = done.json["held"]
    assert held["reason"] == "prompts allowance"
    assert held["high_records"] == HIGH
    assert len(receipts.read_bytes().splitlines()) == HIGH
    again = promptmill(*arguments)
    assert (again.code, again.json["published"], again.json["duplicate"]) == (5, 0, HIGH)
    assert count(place) == HIGH


def test_it_waits_above_the_mark_and_goes_on_below_the_low_one(
    promptmill: Promptmill, place: Place, reader: LagReader, tmp_path: Path
) -> None:
    reader.show(waiting(HIGH + 1))
    with publishing(place, lines(tmp_path / "in", 5), "--run", "r", "--json") as process:
        assert process.stderr is not None
        said = process.stderr.readline()  # it waits now
        assert b"21 prompts wait on the topic (high-water mark 20)" in said
        reader.show(waiting(HIGH // 2 + 1))  # between the marks it still waits
        assert _askers(place) == 1
        assert count(place) == 0
        eventually_now(lambda: held_publishers(promptmill) == {"r": 1}, 60)
        reader.show(waiting(HIGH // 2))
        out, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    assert count(place) == 5
    result = orjson.loads(out)
    assert (result["published"], result["waits"]) == (5, 1)
    assert result["waited_s"] > 0
    assert _askers(place) == 0, "it has left the room to the others"
    assert held_publishers(promptmill) == {}
    waited = promptmill("status", "--run", "r", "--json").json["publishers_waited_s"]
    assert 0 < waited["r"] <= result["waited_s"] + 0.001


def test_ctrl_c_while_it_waits_leaves_exact_receipts(place: Place, tmp_path: Path) -> None:
    file, receipts = lines(tmp_path / "in", 50), tmp_path / "receipts"
    arguments = (file, "--run", "r", "--json", "--receipts", receipts)
    with publishing(place, *arguments) as process:
        eventually_now(lambda: count(place) == HIGH, 60)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert orjson.loads(out)["published"] == HIGH
    written = {orjson.loads(line)["prompt_id"] for line in receipts.read_bytes().splitlines()}
    on_topic = {orjson.loads(d.value or b"")["prompt_id"] for d in place.read(PROMPTS)}
    assert written == on_topic
    assert len(on_topic) == HIGH


def test_without_redis_the_mark_holds_all_the_same(place: Place, tmp_path: Path) -> None:
    away = f"redis://127.0.0.1:{free_port()}/0"
    arguments = (lines(tmp_path / "in", 50), "--run", "r", "--json", "--no-wait")
    with publishing(place, *arguments, PROMPTMILL_REDIS=away) as process:
        out, err = process.communicate(timeout=120)
    assert process.returncode == 5, err
    assert orjson.loads(out)["published"] == HIGH
    assert count(place) == HIGH


def test_redis_stops_while_it_waits_and_comes_back(
    place: Place, own_redis: RedisServer, own_reader: LagReader, tmp_path: Path
) -> None:
    """The mark holds without Redis as well; afterwards it goes on, and nothing is lost."""
    own_reader.show(waiting(HIGH + 1))
    receipts = tmp_path / "receipts"
    arguments = (lines(tmp_path / "in", 50), "--run", "r", "--json", "--receipts", receipts)
    with publishing(place, *arguments, PROMPTMILL_REDIS=own_redis.url) as process:
        assert process.stderr is not None
        assert b"21 prompts wait" in process.stderr.readline()
        own_redis.stop()
        eventually_now(lambda: count(place) == HIGH, 120)  # Kafka itself says how much waits
        own_redis.start()
        own_redis.wait_ready()
        own_reader.show(waiting(0))
        out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    assert orjson.loads(out)["published"] == 50
    on_topic = ids(delivery.value or b"" for delivery in place.read(PROMPTS))
    assert len(on_topic) == 50
    assert sorted(on_topic) == sorted(ids(receipts.read_bytes().splitlines()))


def test_two_processes_of_different_runs_share_the_room(
    place: Place, reader: LagReader, tmp_path: Path
) -> None:
    """Without a board each looks when it likes; neither starves while the topic is emptied."""
    high, receipts = 100, {run: tmp_path / run for run in "ab"}
    reader.show(waiting(high + 1))
    marks = {"PROMPTMILL_PROMPTS_HIGH_RECORDS": str(high)}
    with ExitStack() as stack:
        processes = [
            stack.enter_context(
                publishing(
                    place,
                    *(lines(tmp_path / f"in-{run}", 2 * high), "--run", run, "--json"),
                    *("--receipts", path),
                    **marks,
                )
            )
            for run, path in receipts.items()
        ]
        eventually_now(lambda: _askers(place) == 2, 120)
        assert count(place) == 0
        reader.end()
        eventually_now(lambda: count(place) >= high // 2, 120)
        # What one may still send when the other has measured is half of the room at most.
        assert count(place) <= high * 3 // 2
        eventually_now(lambda: _consumed_and_ended(place, processes), 300)
        ends = [process.communicate(timeout=120) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], ends
    results = [orjson.loads(out) for out, _ in ends]
    assert [result["published"] for result in results] == [2 * high, 2 * high]
    assert min(result["waits"] for result in results) > 1, "both had to wait for room again"
    on_topic = ids(delivery.value or b"" for delivery in place.read(PROMPTS))
    written = [ids(path.read_bytes().splitlines()) for path in receipts.values()]
    assert sorted(on_topic) == sorted([*written[0], *written[1]])


def _consumed_and_ended(place: Place, processes: Iterable[subprocess.Popen[bytes]]) -> bool:
    """Commit what is on the topic, as workers that are done with it; whether all have ended."""
    for stage in READERS[PROMPTS.name]:
        group = f"{place.prefix}promptmill.{stage}"
        asyncio.run(consume_in_vain(place.stack.kafka, group, place.topic(PROMPTS)))
    return all(process.poll() is not None for process in processes)


def ids(documents: Iterable[bytes]) -> list[str]:
    """The prompts that these are about."""
    return [orjson.loads(document)["prompt_id"] for document in documents]


async def test_the_room_is_divided_by_run_then_by_publisher(redis_url: str, unique: str) -> None:
    a, b1, b2 = (
        Publishers(redis_url, unique, run, name, stands_s=600)
        for run, name in (("a", "1"), ("b", "1"), ("b", "2"))
    )
    assert await a.ask() == 1
    assert await b1.ask() == 1 / 2
    assert await b2.ask() == 1 / 4
    assert (await a.ask(), await b1.ask()) == (1 / 2, 1 / 4)
    await b1.leave()
    assert await b2.ask() == 1 / 2
    await b2.leave()
    assert await a.ask() == 1
    for each in (a, b1, b2):
        await each.close()


async def test_a_publisher_that_asks_no_more_is_forgotten(redis_url: str, unique: str) -> None:
    gone, here = (Publishers(redis_url, unique, run, "1", stands_s=0.2) for run in "ab")
    await gone.ask()

    async def is_alone() -> bool:
        return await here.ask() == 1

    await eventually(is_alone, 30)
    for each in (gone, here):
        await each.close()


async def test_a_redis_that_is_away_is_named(unique: str) -> None:
    publishers = Publishers(f"redis://127.0.0.1:{free_port()}/0", unique, "a", "1")
    with pytest.raises(Unavailable, match="the other publishers"):
        await publishers.ask()
    await publishers.close()


def _askers(place: Place) -> int:
    async def number() -> int:
        redis = connect(place.stack.redis, timeout_s=60)
        found = await redis.zcard(FlowKeys(place.prefix).publishers)
        await redis.aclose()
        return int(found)

    return asyncio.run(number())
