"""Prompts that vanished from Kafka are sent again, and each is settled once."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

import pytest
from aiokafka.errors import KafkaError

from promptmill.devstack.stack import find
from support.lost_prompts import consume_in_vain, delete_log
from support.pipeline import OUTCOMES, Pipeline, receipts, write_prompts
from support.waiting import eventually_now

pytestmark = [pytest.mark.real, pytest.mark.timeout(420)]
COUNT = 50


def test_lost_prompts_that_are_sent_again_settle_once(pipeline: Pipeline, tmp_path: Path) -> None:
    prompts = [{"prompt": f"What is a lost prompt number {n}?"} for n in range(COUNT)]
    file, out = write_prompts(tmp_path / "p.jsonl", prompts), tmp_path / "receipts.jsonl"
    run = "requeue"
    with pipeline.workers("store"):
        pipeline.json("publish", str(file), "--run", run, "--receipts", str(out))
        eventually_now(
            lambda: (
                (pipeline.home / "store" / "prompts").exists()
                and len(pipeline.ids("prompts", run)) == COUNT
            ),
            timeout_s=120,
        )
    stack = find(pipeline.home)
    assert stack is not None
    asyncio.run(consume_in_vain(stack.kafka, "promptmill.instruct", "prompts"))
    asyncio.run(delete_log(stack.kafka, "prompts"))
    again = pipeline.json("publish", str(file), "--run", run)
    assert (again["published"], again["duplicate"], again["pending"]) == (0, COUNT, COUNT)

    sent = pipeline.json("requeue", "--run", run, "--yes")
    assert (sent["lost"], sent["requeued"], sent["without_text"]) == (COUNT, COUNT, 0)
    with pipeline.workers("--all", "--engine", "scripted"):
        status = pipeline.settle(run, within_s=240)
    assert (status["dead"], status["accepted"] + status["rejected"]) == (0, COUNT)
    settled = pipeline.ids("rejects", run) + sorted(set(pipeline.ids("records", run)))
    assert sorted(settled) == sorted(receipts(out))
    assert len(pipeline.ids("records", run)) == status["accepted"]


def test_a_claim_without_a_published_decision_does_not_block_a_prompt_that_is_sent_again(
    pipeline: Pipeline, tmp_path: Path
) -> None:
    """The filter dies between claim and publication, and the message that it read is lost."""
    run, out = "claimed", tmp_path / "receipts.jsonl"
    file = write_prompts(tmp_path / "p.jsonl", [{"prompt": "Which decision was never published?"}])
    with (
        pipeline.workers("store"),
        pipeline.workers("instruct", "--engine", "scripted"),
        pipeline.workers("reward", "--engine", "scripted"),
    ):
        with pipeline.workers(
            "filter", PROMPTMILL_FAULTS="filter.claimed=kill#1", PROMPTMILL_SESSION_TIMEOUT_S="6"
        ) as mortal:
            pipeline.json("publish", str(file), "--run", run, "--receipts", str(out))
            assert mortal.process.wait(180) == -signal.SIGKILL
        stack = find(pipeline.home)
        assert stack is not None
        eventually_now(lambda: _is_consumed_in_vain(stack.kafka, "promptmill.filter", "scored"))
        asyncio.run(delete_log(stack.kafka, "scored"))
        eventually_now(
            lambda: pipeline.json("pending", "--run", run)["places"] == {"lost": 1}, timeout_s=120
        )
    assert not any(pipeline.ids(table, run) for table in OUTCOMES)

    assert pipeline.json("requeue", "--run", run, "--yes")["requeued"] == 1
    with pipeline.workers("--all", "--engine", "scripted"):
        status = pipeline.settle(run, within_s=240)
    assert (status["dead"], status["accepted"] + status["rejected"]) == (0, 1)
    settled = pipeline.ids("rejects", run) + pipeline.ids("records", run)
    assert settled == sorted(receipts(out))


def _is_consumed_in_vain(kafka: str, group: str, topic: str) -> bool:
    """Kafka refuses that while it still takes the dead member for alive."""
    try:
        asyncio.run(consume_in_vain(kafka, group, topic))
    except KafkaError:
        return False
    return True
