"""Sentinel promotes a replica while filters work: nothing is lost, and nothing is stored twice."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from support.pipeline import Pipeline, receipts, write_prompts
from support.redis_servers import Watched, watched_redis

pytestmark = [pytest.mark.real, pytest.mark.timeout(900)]

WITHIN_S = 400
SCRIPTED = ("--all", "--engine", "scripted")
COUNT = 150
SLOW = {"PROMPTMILL_INSTRUCT_MODEL": "latency_s=0.5,tokens=20", "PROMPTMILL_INSTRUCT_SLOTS": "4"}
"""Answers keep arriving at the filter for a while after they were asked for."""


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[Watched]:
    with watched_redis(tmp_path / "redis") as running:
        yield running


@pytest.fixture
def own(tmp_path: Path, watched: Watched) -> Iterator[Pipeline]:
    """A home whose commands and workers find Redis through Sentinel."""
    pipeline = Pipeline(tmp_path / "home")
    pipeline.home.mkdir()
    (pipeline.home / "promptmill.toml").write_text(f'redis = "{watched.url}"\n')
    pipeline.json("up", "--partitions", "3", within_s=WITHIN_S)
    yield pipeline
    pipeline.json("down", "--purge", within_s=WITHIN_S)


def publish(own: Pipeline, folder: Path, run: str) -> set[str]:
    """Send the questions of this run."""
    prompts = [{"prompt": f"What is bridge number {n}?"} for n in range(COUNT)]
    file, out = write_prompts(folder / f"{run}.jsonl", prompts), folder / f"{run}.receipts"
    own.json("publish", str(file), "--run", run, "--receipts", str(out), within_s=WITHIN_S)
    return receipts(out)


def test_a_failover_loses_no_record_and_doubles_none(
    own: Pipeline, watched: Watched, tmp_path: Path
) -> None:
    before = watched.replica.info("replication")["master_replid"]
    with own.workers(*SCRIPTED, **SLOW):
        first = publish(own, tmp_path, "first")
        own.settle("first", within_s=WITHIN_S)
        second = publish(own, tmp_path, "second")
        watched.fail_over()
        own.settle("second", within_s=WITHIN_S)
    assert watched.replica.info("replication")["master_replid"] != before
    log = (own.home / "run.log").read_text()
    log += "".join(file.read_text() for file in (own.home / "logs").glob("filter*"))
    assert "claims_unusable" in log
    assert log.count("claims_rebuilt") >= 2, "at the start and after the failover"
    own.audit("first", first)
    own.audit("second", second)
