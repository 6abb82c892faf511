"""The README stays true: its commands are run as they stand there."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from check_readme import commands, problem_with
from support.pipeline import Pipeline

ROOT = Path(__file__).parents[2]
pytestmark = [pytest.mark.real, pytest.mark.timeout(300)]


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
        str(ROOT / a) if (ROOT / a).is_file() else str(folder / a) if a.endswith(".jsonl") else a
        for a in arguments
    ]


@pytest.mark.parametrize("command", commands())
def test_every_command_exists_with_its_flags(command: str) -> None:
    assert problem_with(command) is None
