"""The pauses of both loops: they double, they have a ceiling, and no two workers share them."""

from __future__ import annotations

from random import Random

import pytest

from promptmill.runtime.timing import backoff_s
from promptmill.store.limits import Backoff, SinkLimits
from promptmill.stream.settings import LoopSettings


def lowest() -> float:
    return 0.0


def test_the_pause_doubles_up_to_its_ceiling() -> None:
    pauses = [backoff_s(failures, 0.2, 1.0, lowest) for failures in (1, 2, 3, 4, 1_000_000)]
    assert pauses == [0.1, 0.2, 0.4, 0.5, 0.5]


@pytest.mark.parametrize("failures", [1, 3, 50])
def test_half_of_the_pause_is_drawn(failures: int) -> None:
    draw = Random(7).random
    pauses = [backoff_s(failures, 0.2, 5.0, draw) for _ in range(1_000)]
    ceiling = min(5.0, 0.2 * 2 ** (failures - 1))
    assert ceiling / 2 <= min(pauses) < 0.55 * ceiling
    assert 0.95 * ceiling < max(pauses) < ceiling


def test_two_workers_do_not_come_back_together() -> None:
    """With the same settings and the same failures."""
    stream, limits = LoopSettings(), SinkLimits()
    assert len({stream.backoff_s(5) for _ in range(100)}) > 90
    assert len({Backoff(limits, lowest).failed() for _ in range(100)}) > 90


def test_a_success_begins_the_pauses_of_a_sink_again() -> None:
    backoff = Backoff(SinkLimits(backoff_initial_s=0.2), lowest, lowest)
    assert [backoff.failed(), backoff.failed()] == [0.1, 0.2]
    backoff.succeeded()
    assert backoff.failed() == 0.1
