"""A run that fails, and is sent again when the cause is gone."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.pipeline import Pipeline, receipts, write_prompts

pytestmark = [pytest.mark.real, pytest.mark.timeout(300)]


def test_replayed_dead_letters_settle_as_accepted_or_rejected(
    pipeline: Pipeline, tmp_path: Path
) -> None:
    prompts = [{"prompt": f"What is a dead letter number {n}?"} for n in range(20)]
    file, out = write_prompts(tmp_path / "p.jsonl", prompts), tmp_path / "receipts.jsonl"
    run = "dead"
    with (
        pipeline.workers("instruct", "--engine", "scripted", "--deadline-s", "0.001"),
        pipeline.workers("store"),
    ):
        pipeline.json("publish", str(file), "--run", run, "--receipts", str(out))
        status = pipeline.settle(run)
    assert (status["dead"], status["settled"]) == (20, True)
    pipeline.audit(run, receipts(out))
    listed = pipeline.call("dead", "list", "--where", f"run={run}", "--json")
    assert listed.stdout.count('"reason":"deadline"') == 20

    with pipeline.workers("--all", "--engine", "scripted"):
        sent = pipeline.json("dead", "replay", "--where", f"run={run}")
        assert sent == {"replayed": 20, "skipped": 0}
        status = pipeline.settle(run)
    assert (status["dead"], status["accepted"] + status["rejected"]) == (0, 20)
    letters = [row for row in pipeline.table("dead_letters") if row["run"] == run]
    assert [row["state"] for row in letters] == ["replayed"] * 20
    assert len(pipeline.ids("records", run)) == status["accepted"]
    again = pipeline.json("dead", "replay", "--where", f"run={run}")
    assert again == {"replayed": 0, "skipped": 0}
