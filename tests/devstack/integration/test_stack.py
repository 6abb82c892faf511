"""The stack's life: up, found, crashed, repaired, down; on real servers."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest
import redis
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from promptmill.devstack.broker import Broker
from promptmill.devstack.ports import free_port, is_free
from promptmill.devstack.servers import Servers
from promptmill.devstack.stack import StackInfo, attach, down, find, up
from promptmill.devstack.state import StackState, state_file, write_state
from promptmill.kafka.topics import TopicSpec, ensure_topics
from promptmill.runtime.errors import Fatal, Misconfigured
from support.waiting import eventually_now

pytestmark = pytest.mark.real

TOPIC = TopicSpec("kept", partitions=1, retention_ms=-1, max_message_bytes=1_000_000)


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    """A home with a space and more than ASCII in its path; stopped at the end."""
    path = tmp_path / "Mühle eins"
    yield path
    down(path, purge=True)


def servers(home: Path) -> Servers:
    attached = attach(home)
    assert attached is not None
    return attached


def processes(home: Path) -> dict[str, psutil.Process]:
    found = {daemon.name: daemon.process() for daemon in servers(home).daemons()}
    return {name: process for name, process in found.items() if process}


def kill_from_outside(home: Path, *names: str) -> None:
    """Kills servers as an outsider would, without the stack's help."""
    for name, process in processes(home).items():
        if name in names:
            os.kill(process.pid, signal.SIGKILL)
    eventually_now(lambda: not set(names) & set(processes(home)))


async def put(stack: StackInfo, value: bytes) -> None:
    """Leaves one record in Kafka and one key in Redis."""
    await ensure_topics(stack.kafka, [TOPIC])
    async with AIOKafkaProducer(bootstrap_servers=stack.kafka, acks="all") as producer:
        await producer.send_and_wait(TOPIC.name, value)
    with redis.Redis.from_url(stack.redis) as client:
        client.set(b"kept", value)


async def kept(stack: StackInfo) -> tuple[list[bytes | None], bytes | None]:
    """What Kafka and Redis still have."""
    consumer = AIOKafkaConsumer(
        TOPIC.name, bootstrap_servers=stack.kafka, auto_offset_reset="earliest"
    )
    async with consumer:
        record = await consumer.getone()
    with redis.Redis.from_url(stack.redis) as client:
        value = client.get(b"kept")
    assert value is None or isinstance(value, bytes)
    return [record.value], value


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


async def test_a_stack_keeps_its_data_over_down_and_up_and_leaves_nothing_else(home: Path) -> None:
    first = up(home)
    await put(first, b"grain")
    ran = processes(home)
    assert set(ran) == {"redis", "kafka-1"}

    stopped = down(home)

    assert set(stopped.servers) == {"redis", "kafka-1"}
    assert not any(process.is_running() for process in ran.values())
    assert names_in(home) == ["kafka", "logs", "redis"]
    assert find(home) is None
    assert down(home).servers == ()

    assert await kept(up(home)) == ([b"grain"], b"grain")
    down(home, purge=True)
    assert home.name not in names_in(home.parent)


def test_a_second_up_finds_the_running_stack(home: Path) -> None:
    first = up(home)
    before = processes(home)
    assert up(home) == find(home) == first
    assert up(home, brokers=1) == first
    assert processes(home) == before
    with pytest.raises(Misconfigured, match=r"has a stack of 1 broker.*3 were requested"):
        up(home, brokers=3)


def test_two_ups_at_once_start_one_stack(home: Path) -> None:
    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(up, (home, home))
    assert first == second
    markers = [str(daemon.marker) for daemon in servers(home).daemons()]
    assert [_processes_with(marker) for marker in markers] == [1, 1]


async def test_a_stack_whose_servers_were_killed_is_restarted_on_its_data_and_ports(
    home: Path,
) -> None:
    first = up(home)
    await put(first, b"grain")

    kill_from_outside(home, "redis")
    found = find(home)
    assert found is not None
    assert found.missing == ("redis",)
    assert up(home) == first

    for process in processes(home).values():
        os.kill(process.pid, signal.SIGKILL)
    assert up(home) == first  # without waiting until they are gone
    kill_from_outside(home, "redis", "kafka-1")
    assert find(home) is None
    assert up(home) == first
    assert await kept(first) == ([b"grain"], b"grain")


async def test_a_stack_whose_ports_were_taken_moves_to_others_with_its_data(home: Path) -> None:
    first = up(home)
    await put(first, b"grain")
    kill_from_outside(home, "redis", "kafka-1")
    (broker,) = servers(home).kafka.brokers.values()
    ports = (broker.port, broker.controller_port, servers(home).redis.port)
    thieves = [socket.create_server(("127.0.0.1", port)) for port in ports]
    try:
        moved = up(home)
        assert moved.kafka != first.kafka
        assert moved.redis != first.redis
        assert await kept(moved) == ([b"grain"], b"grain")
    finally:
        for thief in thieves:
            thief.close()


@pytest.mark.parametrize("loser", ["redis", "kafka"])
def test_a_port_lost_between_choice_and_use_costs_another_attempt(
    home: Path, loser: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", free_port())) as thief:
        lost: int = thief.getsockname()[1]
        kafka_port, redis_port = (lost, 0) if loser == "kafka" else (0, lost)
        broker = Broker(1, kafka_port, controller_port=0)
        home.mkdir()
        write_state(home, StackState(brokers=(broker,), redis_port=redis_port))
        lies = [True]
        monkeypatch.setattr(
            "promptmill.devstack.state.is_free",
            lambda port: lies.pop() if port == lost and lies else is_free(port),
        )
        info = up(home)
    assert lies == []
    assert str(lost) not in info.kafka + info.redis


def test_servers_accept_connections_from_loopback_only(home: Path) -> None:
    up(home)
    listening = [
        connection.laddr.ip
        for process in processes(home).values()
        for connection in process.net_connections("inet")
        if connection.status == psutil.CONN_LISTEN
    ]
    assert len(listening) == 3
    assert {ip.removeprefix("::ffff:") for ip in listening} == {"127.0.0.1"}


def test_the_interrupt_that_ends_a_command_leaves_the_servers_alone(home: Path) -> None:
    program = (
        "import sys, time; from pathlib import Path; from promptmill.devstack.stack import up; "
        "up(Path(sys.argv[1])); print('up', flush=True); time.sleep(600)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, str(home)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": "services"},
        process_group=0,
    ) as command:
        assert command.stdout is not None
        assert command.stdout.readline() == b"up\n"
        os.killpg(command.pid, signal.SIGINT)
        command.wait(timeout=60)
    assert len(processes(home)) == 2
    assert up(home).missing == ()


def test_an_interrupt_during_up_stops_what_it_started(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> None:
        assert len(processes(home)) == 2
        raise KeyboardInterrupt

    monkeypatch.setattr(Servers, "wait_ready", interrupted)
    with pytest.raises(KeyboardInterrupt):
        up(home)
    assert not state_file(home).exists()
    assert list((home / "run").iterdir()) == []
    assert [_processes_with(str(marker)) for marker in _markers(home)] == [0, 0]


def test_a_server_that_cannot_start_is_explained_and_the_other_stopped(home: Path) -> None:
    up(home)
    down(home)
    data = home / "redis" / "data" / "appendonlydir"
    (base,) = data.glob("*.base.rdb")
    base.write_bytes(b"REDIS9999 from the future")
    with pytest.raises(Fatal, match=r"redis exited while it was starting.*PROMPTMILL_REDIS_SERVER"):
        up(home)
    assert [_processes_with(str(marker)) for marker in _markers(home)] == [0, 0]


def test_a_stack_whose_state_and_pid_files_were_lost_is_still_stopped(home: Path) -> None:
    up(home)
    ran = processes(home)
    state_file(home).unlink()
    for pid_file in (home / "run").iterdir():
        pid_file.unlink()
    assert set(down(home).servers) == set(ran)
    assert not any(process.is_running() for process in ran.values())


def test_a_frozen_server_is_reported_and_can_be_stopped(home: Path) -> None:
    up(home)
    frozen = servers(home).redis
    frozen.pause()
    with pytest.raises(Fatal, match="redis did not answer on port"):
        frozen.wait_ready(timeout_s=0.2)
    frozen.resume()
    frozen.wait_ready(timeout_s=60)
    frozen.pause()
    assert set(down(home).servers) == {"redis", "kafka-1"}


def _markers(home: Path) -> list[Path]:
    return [home / "redis" / "redis.conf", home / "kafka" / "broker-1" / "server.properties"]


def _processes_with(argument: str) -> int:
    return sum(argument in (p.info["cmdline"] or ()) for p in psutil.process_iter(["cmdline"]))
