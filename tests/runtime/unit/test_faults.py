"""Fault points: silent unless told, exact when told."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from promptmill.runtime.errors import Misconfigured
from promptmill.runtime.fault_points import fault_point, parse_rules


def test_without_the_setting_nothing_happens() -> None:
    assert "PROMPTMILL_FAULTS" not in os.environ
    fault_point("work.begin")


@pytest.mark.parametrize("text", ["work.begin", "x=explode", "x=kill@", "X=kill", "x=kill#a"])
def test_a_rule_that_cannot_be_read_is_told(text: str) -> None:
    with pytest.raises(Misconfigured, match="PROMPTMILL_FAULTS"):
        parse_rules(text)


def test_a_passage_is_counted_and_a_chance_repeats_with_its_seed() -> None:
    third = parse_rules("a=fail#3")["a"]
    assert [third.strikes() for _ in range(5)] == [False, False, True, False, False]
    runs = [parse_rules("a=kill@0.3", seed="7")["a"] for _ in range(2)]
    first, second = ([rule.strikes() for _ in range(50)] for rule in runs)
    assert first == second
    assert 0 < sum(first) < 50


@pytest.mark.parametrize(("action", "code"), [("kill", -signal.SIGKILL), ("fail", 1)])
def test_a_fault_strikes_at_its_point(action: str, code: int) -> None:
    program = (
        "from promptmill.runtime.fault_points import fault_point\n"
        "fault_point('a.b'); fault_point('a.b'); print('alive')"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=os.environ | {"PROMPTMILL_FAULTS": f"a.b={action}#2"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == code
    assert "alive" not in done.stdout
