"""A small run of ``scripts/chaos``: everything at once, from a seed, stopped and gone on with."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import orjson
import pytest

from support.chaos.campaign import Campaign, Plan
from support.chaos.report import figures, write

pytestmark = [pytest.mark.chaos, pytest.mark.real, pytest.mark.timeout(600)]

WORKERS = {"instruct": 2, "reward": 1, "filter": 2, "store": 1}


def test_a_run_under_random_faults_passes_its_audit_and_is_continued(tmp_path: Path) -> None:
    plan = Plan(
        records=2_000,
        kills=6,
        seed=4,
        minutes=0.2,
        pause_s=1.5,
        brokers=1,
        home=tmp_path / "home",
        workers=WORKERS,
    )
    first, audit = asyncio.run(Campaign(plan, print).run())
    assert audit.is_clean, str(audit)
    before = first.published
    second, audit = asyncio.run(Campaign(replace(plan, minutes=5), print).run())
    assert audit.is_clean, str(audit)
    assert audit.published == second.published >= max(before, plan.records)
    assert second.kills >= plan.kills
    assert len(second.sessions) == 2
    report = write(tmp_path, figures(second, audit))
    assert orjson.loads(report.with_suffix(".json").read_bytes())["lost"] == 0
    assert "| **doubled** | 0 |" in report.read_text()
