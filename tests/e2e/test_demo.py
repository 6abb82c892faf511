"""The demo, as the README shows it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path

import psutil
import pytest

from support.pipeline import Pipeline
from support.waiting import eventually_now

pytestmark = [pytest.mark.real, pytest.mark.vllm, pytest.mark.timeout(560)]

ROOT = Path(__file__).parents[2]
DEMO = str(ROOT / "scripts" / "demo")


def environment(home: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if "PROMPTMILL" not in name}
    return kept | {"PROMPTMILL_HOME": str(home)}


def processes_of(home: Path) -> list[int]:
    """Processes that were started for this home."""
    found = []
    for process in psutil.process_iter(["environ", "pid"]):
        environ = process.info["environ"] or {}
        if environ.get("PROMPTMILL_HOME") == str(home):
            found.append(int(process.info["pid"]))
    return found


def test_the_demo_settles_every_prompt_and_stops_what_it_started(tmp_path: Path) -> None:
    done = subprocess.run(
        [DEMO, "--json"],
        env=environment(tmp_path),
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3_000:]
    result = json.loads(done.stdout.splitlines()[-1])
    pipeline = Pipeline(tmp_path)
    published = set(pipeline.ids("prompts", "demo"))
    assert result["settled"] == len(published) >= 200
    tables = pipeline.audit("demo", published)
    assert (len(tables["records"]), len(tables["rejects"])) == (
        result["accepted"],
        result["rejected"],
    )
    assert processes_of(tmp_path) == []
    assert pipeline.call("status", "--run", "demo").returncode == 78, "its stack is stopped"


def test_ctrl_c_stops_everything_that_the_demo_started(tmp_path: Path) -> None:
    with subprocess.Popen(
        [DEMO],
        env=environment(tmp_path),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as demo:
        assert demo.stderr is not None
        told = (line for line in demo.stderr if "store is ready" in line)
        assert next(told, None) is not None
        demo.send_signal(signal.SIGINT)
        demo.stderr.read()
        assert demo.wait(120) == 130
    eventually_now(lambda: processes_of(tmp_path) == [])
