"""The README stays true: its commands are run as they stand there."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from check_readme import commands, problem_with
from support.pipeline import Pipeline

ROOT = Path(__file__).parents[2]
pytestmark = [pytest.mark.real, pytest.mark.timeout(560)]


def test_the_commands_of_the_bash_blocks_work_in_order(tmp_path: Path) -> None:
    """Those of the scripts/ folder are run by CI and by the demo's own test."""
    pipeline = Pipeline(tmp_path)
    ours = [shlex.split(line)[1:] for line in commands("bash") if line.startswith("promptmill ")]
    assert len(ours) > 5
    try:
        pipeline.json("up")
        with pipeline.workers("--all", "--engine", "scripted"):
            for arguments in ours:
                done = pipeline.call(*_in_folder(arguments, tmp_path))
                assert done.returncode == 0, f"{arguments}: {done.stderr[-1_000:]}"
                if arguments[0] == "publish":
                    pipeline.settle("first")
    finally:
        pipeline.call("down", "--purge")


def _in_folder(arguments: list[str], folder: Path) -> list[str]:
    """Files that exist are the clone's; what is written goes to the test's folder."""
    return [
        str(ROOT / a)
        if (ROOT / a).is_file()
        else str(folder / a)
        if a.endswith((".jsonl", ".html"))
        else a
        for a in arguments
    ]


@pytest.mark.vllm
def test_the_quickstart_gives_a_record_of_ones_own_prompt(tmp_path: Path) -> None:
    """The block is one script; the folder has what the clone has, so files land in the test's."""
    (tmp_path / "models").symlink_to(ROOT / "models")
    pipeline = Pipeline(tmp_path / "home")
    programs = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    try:
        done = subprocess.run(
            ["bash", "-euc", "\n".join(commands("sh"))],  # noqa: S607 - any bash will do
            cwd=tmp_path,
            env=pipeline.environment | {"PATH": programs},
            capture_output=True,
            text=True,
            timeout=500,
            check=False,
        )
    finally:
        pipeline.call("down", "--purge")
    assert done.returncode == 0, done.stdout + done.stderr[-2_000:]
    (record,) = map(json.loads, (tmp_path / "mine.jsonl").read_text().splitlines())
    assert record["messages"][-1]["content"], record


@pytest.mark.parametrize("command", commands())
def test_every_command_exists_with_its_flags(command: str) -> None:
    assert problem_with(command) is None
