"""Every alert names metrics that workers have."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Any, cast

import yaml  # type: ignore[import-untyped]

from promptmill.flow.lags import Standing
from promptmill.flow.marks import Marks
from promptmill.flow.metrics import FlowMetrics
from promptmill.runtime.telemetry.metrics import StageMetrics

RULES = Path(__file__).parents[3] / "infra" / "prometheus" / "rules.yml"
METRIC = re.compile(r"\bpromptmill_\w+")


def rules() -> list[dict[str, Any]]:
    groups = yaml.safe_load(RULES.read_text())["groups"]
    return [rule for group in groups for rule in cast("list[dict[str, Any]]", group["rules"])]


def metrics() -> set[str]:
    """What a worker shows, and the gauges that its wiring adds."""
    stage = StageMetrics("filter", time.monotonic)
    FlowMetrics(stage, {}, lambda: 0.0, Standing())
    names = {name for family in stage.registry.collect() for name in _names(family)}
    listed = set(METRIC.findall(StageMetrics.__doc__ or ""))
    return names | listed


def _names(family: Any) -> set[str]:
    total = {f"{family.name}_total"} if family.type == "counter" else set()
    return {family.name} | total


def test_each_alert_names_existing_metrics_and_says_what_is_wrong() -> None:
    assert {rule["alert"] for rule in rules()} >= {"StageHeld", "LagsUnknown"}
    for rule in rules():
        used = set(METRIC.findall(rule["expr"]))
        assert used
        assert used <= metrics(), rule["alert"]
        assert rule["annotations"]["summary"]


def test_the_table_of_metrics_lists_what_backpressure_adds() -> None:
    listed = set(METRIC.findall(StageMetrics.__doc__ or ""))
    stage = StageMetrics("filter", time.monotonic)
    before = {family.name for family in stage.registry.collect()}
    FlowMetrics(stage, {"records": Marks()}, lambda: 0.0, Standing())
    added = [family for family in stage.registry.collect() if family.name not in before]
    assert len(added) == 16
    assert all(_names(family) & listed for family in added)
