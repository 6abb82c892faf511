"""Prompts that vanished from Kafka are sent again, and each is settled once."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from promptmill.local.stack import find
from support.lost_prompts import consume_in_vain, delete_log
from support.pipeline import Pipeline, receipts, write_prompts
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
