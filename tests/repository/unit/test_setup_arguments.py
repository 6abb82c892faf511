"""scripts/setup refuses what it does not know, before it touches anything."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

SETUP = Path(__file__).parents[3] / "scripts" / "setup"


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    """The script in an environment with nothing in it but the standard commands."""
    return subprocess.run(
        [str(SETUP), *arguments],
        env={"PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )


def test_help_tells_of_every_choice() -> None:
    result = run("--help")
    assert result.returncode == 0
    for word in ("--engine cpu", "--engine gpu", "--no-engine", "PYTHON"):
        assert word in result.stdout


@pytest.mark.parametrize(
    ("arguments", "named"),
    [(["--foo"], "--foo"), (["--engine", "tpu"], "tpu"), (["--engine"], "--engine wants")],
)
def test_a_wrong_argument_is_named_and_ends_with_code_64(arguments: list[str], named: str) -> None:
    result = run(*arguments)
    assert result.returncode == 64
    assert named in result.stderr
