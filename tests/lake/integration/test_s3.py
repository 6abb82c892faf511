"""A store on an S3 API: two sinks on one shard, one that is killed in a commit, and compaction."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from threading import Event, Thread
from uuid import uuid4

import pyarrow as pa
import pytest
from deltalake import DeltaTable

from promptmill.lake.compaction import compact
from promptmill.lake.ports import Fenced, Step, TableName, no_step
from promptmill.lake.reader import DeltaReader
from promptmill.lake.sink import DeltaSink
from promptmill.lake.vacuum import vacuum
from promptmill.runtime.errors import Misconfigured, Unavailable
from support.store import batch, identities, record
from support.waiting import eventually

pytest.importorskip(
    "moto.server", reason="install moto[server] by hand: it cannot be locked beside datasets"
)

pytestmark = pytest.mark.real

RECORDS = TableName.RECORDS
BUCKET = "training"


class Killed(BaseException):
    """The end of a process in the middle of a commit."""


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """An S3 API on a free port of loopback.

    It is a process of its own, because the library holds the interpreter's lock while it waits.
    """
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    command = [sys.executable, "-m", "moto.server", "--host", "127.0.0.1", "--port", str(port)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as running:
        try:
            asyncio.run(eventually(lambda: answers(port)))
            yield f"http://127.0.0.1:{port}"
        finally:
            running.terminate()


def answers(port: int) -> bool:
    """Whether a server listens on this port."""
    with closing(socket.socket()) as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture
def store(server: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """The URI of an empty store; the credentials and the address are in the environment."""
    environment = {
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": server,
        "AWS_ALLOW_HTTP": "true",
    }
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    boto3 = pytest.importorskip("boto3")
    boto3.client("s3", endpoint_url=server).create_bucket(Bucket=BUCKET)
    return f"s3://{BUCKET}/{uuid4().hex}"


def opened(store: str, step: Step = no_step) -> DeltaSink:
    """Another sink."""
    sink = DeltaSink(store, identities(), step=step)
    sink.open()
    return sink


def commit(sink: DeltaSink, at: int, shard: int = 0) -> None:
    """Store the record of this offset."""
    row = record(f"{shard}-{at}")
    sink.commit(RECORDS, batch([(shard, at, row)], {shard: (at or None, at + 1)}))


def places(store: str) -> list[tuple[int, int]]:
    """Shard and offset of each record, read without the project's code."""
    rows = DeltaTable(f"{store}/{RECORDS}").to_pyarrow_table(columns=["shard", "shard_offset"])
    return sorted(zip(*(rows[name].to_pylist() for name in rows.column_names), strict=True))


def test_a_sink_that_lost_its_shard_is_fenced(store: str) -> None:
    zombie, owner = opened(store), opened(store)
    zombie.take_over([0])
    commit(zombie, 0)
    assert owner.take_over([0]).next_offsets[RECORDS] == {0: 1}
    with pytest.raises(Fenced):
        commit(zombie, 1)
    commit(owner, 1)
    assert places(store) == [(0, 0), (0, 1)]


@pytest.mark.parametrize("point", ["checked", "written", "committed"])
def test_a_sink_that_is_killed_in_a_commit_loses_and_doubles_nothing(
    store: str, point: str
) -> None:
    taken_over = Event()

    def kill(step: str) -> None:
        if taken_over.is_set() and step == f"{point}:{RECORDS}":
            raise Killed

    killed = opened(store, kill)
    killed.take_over([0])
    taken_over.set()
    with pytest.raises((Killed, Unavailable)):  # the library wraps what ends its reading of rows
        commit(killed, 0)
    after = opened(store)
    stored = after.take_over([0]).next_offsets[RECORDS][0]
    assert stored == (1 if point == "committed" else None)
    for at in range(stored or 0, 3):
        commit(after, at)
    assert places(store) == [(0, 0), (0, 1), (0, 2)]


def test_two_sinks_that_commit_at_once_keep_all_rows(store: str) -> None:
    sinks = [opened(store) for _ in range(2)]
    for shard, sink in enumerate(sinks):
        sink.take_over([shard])

    def work(shard: int) -> None:
        for at in range(5):
            commit(sinks[shard], at, shard)

    threads = [Thread(target=work, args=(shard,)) for shard in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert places(store) == [(shard, at) for shard in range(2) for at in range(5)]


def test_compaction_and_vacuum_keep_rows_and_statistics(store: str) -> None:
    sink = opened(store)
    sink.take_over([0])
    for at in range(4):
        commit(sink, at)
    assert compact(f"{store}/{RECORDS}", growth=1) == 4
    assert len(vacuum(store, 0)[RECORDS]) == 4
    snapshot = DeltaReader(store).snapshot(RECORDS)
    assert snapshot is not None
    assert snapshot.next_offsets() == {0: 4}
    assert places(store) == [(0, at) for at in range(4)]
    table = DeltaTable(f"{store}/{RECORDS}")
    (file,) = pa.table(table.get_add_actions(flatten=True)).to_pylist()
    assert (file["min.shard_offset"], file["max.shard_offset"]) == (0, 3)


def test_a_client_without_put_if_absent_is_refused(
    store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_S3_ALLOW_UNSAFE_RENAME", "true")
    with pytest.raises(Misconfigured, match="AWS_S3_ALLOW_UNSAFE_RENAME is 'true'"):
        DeltaSink(store, identities())
