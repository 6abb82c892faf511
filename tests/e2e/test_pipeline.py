"""Prompts in, records out, with the real command line, Kafka, Redis and Delta Lake."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from promptmill_demo.models.untrained import make_untrained_models
from support.pipeline import Pipeline, receipts, write_prompts

pytestmark = [pytest.mark.real, pytest.mark.timeout(420)]

SCRIPTED = ("--all", "--engine", "scripted")
DATA = Path(__file__).parents[2] / "data"


def numbered(count: int, word: str) -> list[dict[str, Any]]:
    return [{"prompt": f"What is {word} number {n}?", "tags": {"n": str(n)}} for n in range(count)]


def test_every_prompt_ends_in_exactly_one_table_and_again_changes_nothing(
    pipeline: Pipeline, tmp_path: Path
) -> None:
    file = write_prompts(tmp_path / "prompts.jsonl", numbered(100, "river"))
    out = tmp_path / "receipts.jsonl"
    with pipeline.workers(*SCRIPTED):
        first = pipeline.json(
            "publish", str(file), "--run", "once", "--n", "2", "--receipts", str(out)
        )
        assert first == {"run": "once", "published": 100, "duplicate": 0, "invalid": 0}
        status = pipeline.settle("once")
        tables = pipeline.audit("once", receipts(out))
        again = pipeline.json("publish", str(file), "--run", "once", "--n", "2")
        assert again == {"run": "once", "published": 0, "duplicate": 100, "invalid": 0}
        assert pipeline.settle("once") | {"stages": {}} == status | {"stages": {}}
    assert (status["published"], status["pending"], status["settled"]) == (100, 0, True)
    assert status["accepted"] == len(tables["records"]) > 0
    assert status["rejected"] == len(tables["rejects"]) > 0


@pytest.mark.chaos
@pytest.mark.parametrize("stage", ["instruct", "reward", "filter", "store"])
def test_a_killed_worker_loses_nothing_and_doubles_nothing(
    pipeline: Pipeline, tmp_path: Path, stage: str
) -> None:
    file = write_prompts(tmp_path / "prompts.jsonl", numbered(150, stage))
    out = tmp_path / "receipts.jsonl"
    run = f"kill-{stage}"
    with pipeline.workers(*SCRIPTED) as workers:
        pipeline.json("publish", str(file), "--run", run, "--n", "2", "--receipts", str(out))
        workers.kill(stage)
        pipeline.settle(run)
    pipeline.audit(run, receipts(out))


def test_bad_lines_are_told_and_the_good_ones_published(pipeline: Pipeline, tmp_path: Path) -> None:
    out = tmp_path / "receipts.jsonl"
    file = DATA / "examples" / "invalid.jsonl"
    done = pipeline.json("publish", str(file), "--run", "bad", "--receipts", str(out), code=3)
    assert done["invalid"] == len(file.read_bytes().splitlines()) - done["published"]
    assert out.read_text().count('"error"') == done["invalid"]


@pytest.mark.vllm
@pytest.mark.parametrize("ranks", [1, 2])
def test_real_models_answer_and_grade_in_vllm(
    pipeline: Pipeline, tmp_path: Path, ranks: int
) -> None:
    models = make_untrained_models(pipeline.home / "models")
    lines = (DATA / "prompts.jsonl").read_text().splitlines()[:12]
    file = tmp_path / "prompts.jsonl"
    file.write_text("\n".join(lines))
    out, run = tmp_path / "receipts.jsonl", f"vllm-{ranks}"
    with pipeline.workers(
        "--all",
        *("--model", str(models.instruct), "--reward-model", str(models.reward)),
        *("--tensor-parallel", str(ranks)),
    ):
        pipeline.json(
            *("publish", str(file), "--run", run, "--n", "2", "--max-tokens", "16"),
            *("--receipts", str(out)),
        )
        pipeline.settle(run, within_s=300)
    pipeline.audit(run, receipts(out))
    rows = [row for t in ("records", "rejects") for row in pipeline.table(t) if row["run"] == run]
    assert {row["generated_by"]["tensor_parallel"] for row in rows} == {ranks}
    assert {row["generated_by"]["engine"] for row in rows} == {"vllm"}
    assert {row["scorer"]["engine"] for row in rows} == {"vllm"}
