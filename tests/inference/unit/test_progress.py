"""An engine is silent only while it owes something."""

from __future__ import annotations

import pytest

from promptmill.inference.engines import watch_engine
from promptmill.inference.ports import Load
from promptmill.inference.vllm.progress import EngineProgress
from promptmill.runtime.telemetry.metrics import StageMetrics


class Clock:
    """Time that passes when told."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_an_idle_engine_is_never_silent() -> None:
    clock = Clock()
    progress = EngineProgress(clock)
    clock.now += 1000
    assert progress.silent_s() == 0.0


def test_silence_begins_with_the_first_request_after_a_pause() -> None:
    clock = Clock()
    progress = EngineProgress(clock)
    clock.now += 1000
    with progress.request():
        clock.now += 3
        assert progress.silent_s() == 3.0
    assert progress.silent_s() == 0.0


def test_a_further_request_is_no_sign_of_work() -> None:
    clock = Clock()
    progress = EngineProgress(clock)
    with progress.request():
        clock.now += 5
        with progress.request():
            assert progress.outstanding == 2
            assert progress.silent_s() == 5.0


def test_a_beat_ends_the_silence() -> None:
    clock = Clock()
    progress = EngineProgress(clock)
    with progress.request():
        clock.now += 5
        progress.beat()
        clock.now += 1
        assert progress.silent_s() == 1.0


def test_a_request_that_fails_is_no_longer_outstanding() -> None:
    progress = EngineProgress(Clock())
    with pytest.raises(LookupError), progress.request():
        [].pop()
    assert progress.outstanding == 0


def test_the_load_is_what_the_last_step_left_and_nothing_once_all_is_answered() -> None:
    progress = EngineProgress(Clock())
    with progress.request():
        progress.stepped(3, 5)
        assert progress.load == Load(running=3, waiting=5)
    assert progress.load == Load()


def test_an_engine_that_knows_its_queue_is_on_the_metrics_and_another_is_not() -> None:
    progress, metrics = EngineProgress(Clock()), StageMetrics("instruct", Clock())
    watch_engine(metrics, object())
    assert b"promptmill_engine" not in metrics.exposition()
    watch_engine(metrics, progress)
    with progress.request():
        progress.stepped(3, 5)
        shown = metrics.exposition().decode()
    assert 'promptmill_engine_running{stage="instruct"} 3.0' in shown
    assert 'promptmill_engine_waiting{stage="instruct"} 5.0' in shown
