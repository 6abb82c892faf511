"""The figures of a campaign, as JSON and as Markdown."""

from __future__ import annotations

import os
import platform
import subprocess
from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from math import isnan
from pathlib import Path
from typing import Any

import orjson
import psutil

from support.chaos.audit import Audit
from support.chaos.journal import Journal
from support.chaos.pipeline import SETTINGS
from support.chaos.recovery import quantile

ROOT = Path(__file__).parents[3]


_RECOVERY = (
    "Seconds from the fault until the stage settled its next record (*first*), and until every "
    "partition in which work was waiting had settled one (*all*)."
)


def figures(journal: Journal, audit: Audit) -> dict[str, Any]:
    """Everything that a report says."""
    seconds = sum(journal.sessions)
    kills = Counter(f["stage"] for f in journal.faults if f["kind"] in ("sigkill", "point"))
    return {
        "seed": journal.seed,
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine(),
        "sessions_s": [round(each) for each in journal.sessions],
        "records": audit.published,
        "accepted": audit.accepted,
        "rejected": audit.rejected,
        "dead": audit.dead,
        "lost": len(audit.lost),
        "doubled": len(audit.doubled),
        "strangers": len(audit.strangers),
        "gaps": len(audit.gaps),
        "absorbed": audit.absorbed,
        "dead_reasons": dict(audit.reasons),
        "records_per_s": round(audit.published / seconds, 1) if seconds else None,
        "kills": sum(kills.values()),
        "kills_by_stage": dict(kills),
        "faults": dict(Counter(fault["kind"] for fault in journal.faults)),
        "redone": dict(audit.redone),
        "redone_generations_per_kill": _share(audit.redone["completions"], kills["instruct"]),
        "generations_in_flight": int(SETTINGS["PROMPTMILL_INSTRUCT_SLOTS"]),
        "recovery": recoveries(journal.faults),
    }


def _share(number: int, of: int) -> float | None:
    return round(number / of, 2) if of else None


def recoveries(faults: Iterable[Mapping[str, Any]]) -> dict[str, dict[str, float]]:
    """By kind of fault: how many were measured, and the quantiles of both times in seconds."""
    kinds: dict[str, list[Mapping[str, Any]]] = {"all": []}
    for fault in faults:
        if "all_s" in fault:
            kinds["all"].append(fault)
            kinds.setdefault(fault["kind"], []).append(fault)
    return {kind: _quantiles(measured) for kind, measured in kinds.items() if measured}


def _quantiles(faults: list[Mapping[str, Any]]) -> dict[str, float]:
    row: dict[str, float] = {"measured": len(faults)}
    for name in ("first_s", "all_s"):
        values = [fault[name] for fault in faults]
        for share, label in ((0.5, "p50"), (0.99, "p99"), (1.0, "max")):
            row[f"{name.removesuffix('_s')}_{label}_s"] = round(quantile(values, share), 2)
    return row


def machine() -> dict[str, Any]:
    """Where it was measured."""
    commit = subprocess.run(
        ("git", "rev-parse", "--short", "HEAD"),  # noqa: S607 - whichever git is installed
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    return {
        "cores": os.cpu_count(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "python": platform.python_version(),
        "system": platform.system(),
        "aiokafka": version("aiokafka"),
        "deltalake": version("deltalake"),
        "commit": commit.stdout.strip() or None,
    }


def write(folder: Path, found: Mapping[str, Any]) -> Path:
    """``chaos-<seed>.json`` and ``.md`` in the folder; the path of the latter."""
    folder.mkdir(parents=True, exist_ok=True)
    name = f"chaos-{found['seed']}"
    (folder / f"{name}.json").write_bytes(orjson.dumps(found, option=orjson.OPT_INDENT_2) + b"\n")
    text = folder / f"{name}.md"
    text.write_text(markdown(found), "utf-8")
    return text


def markdown(found: Mapping[str, Any]) -> str:
    """The report for people."""
    machine_ = ", ".join(f"{name} {value}" for name, value in found["machine"].items())
    faults = ", ".join(f"{kind} {n}" for kind, n in sorted(found["faults"].items()))
    rows = (
        ("prompts published", found["records"]),
        ("accepted / rejected / dead", _counts(found, "accepted", "rejected", "dead")),
        ("**lost**", found["lost"]),
        ("**doubled**", found["doubled"]),
        ("settled but never published", found["strangers"]),
        ("gaps between offsets, rows and positions", found["gaps"]),
        ("messages absorbed as repetitions or variants", found["absorbed"]),
        ("worker processes killed", found["kills"]),
        ("generations done again", found["redone"]["completions"]),
        ("… for each instruct worker killed", found["redone_generations_per_kill"]),
        ("generations in flight at one worker, at most", found["generations_in_flight"]),
        ("records/s over all sessions, faults included", found["records_per_s"]),
    )
    lines = [
        f"# Chaos run, seed {found['seed']}",
        "",
        f"{found['at']}; {machine_}; sessions of {found['sessions_s']} s.",
        "",
        "| figure | value |",
        "|---|---|",
        *(f"| {name} | {_text(value)} |" for name, value in rows),
        "",
        f"Faults: {faults}. Kills by stage: {_text(found['kills_by_stage'])}.",
        f"Dead letters by reason: {_text(found['dead_reasons'])}.",
        "",
        "## Recovery",
        "",
        _RECOVERY,
        "",
        "| fault | measured | first p50 | first p99 | all p50 | all p99 | all max |",
        "|---|---|---|---|---|---|---|",
        *(_recovery_row(kind, row) for kind, row in found["recovery"].items()),
    ]
    return "\n".join(lines) + "\n"


def _recovery_row(kind: str, row: Mapping[str, float]) -> str:
    names = ("first_p50_s", "first_p99_s", "all_p50_s", "all_p99_s", "all_max_s")
    return f"| {kind} | {row['measured']} | {' | '.join(_text(row[name]) for name in names)} |"


def _counts(found: Mapping[str, Any], *names: str) -> str:
    return " / ".join(_text(found[name]) for name in names)


def _text(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name or 'none'} {n}" for name, n in sorted(value.items())) or "none"
    if value is None or (isinstance(value, float) and isnan(value)):
        return "not measured"
    return f"{value:,}" if isinstance(value, int) else str(value)
