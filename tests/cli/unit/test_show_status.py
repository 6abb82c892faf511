"""The table of ``promptmill status``, and what it says of workers without partitions."""

from __future__ import annotations

from rich.console import Console

from promptmill.cli.run_status import RunStatus, StageStatus, stage_status
from promptmill.cli.status import as_table, idle_lines, trouble_lines
from promptmill.runtime.telemetry.registry import WorkerInfo


def worker(name: str, partitions: int, *, ready: bool = True) -> WorkerInfo:
    return WorkerInfo(stage="reward", id=name, ready=ready, partitions=partitions)


def status_of(stage: StageStatus) -> RunStatus:
    return RunStatus("run", 1, 0, 0, 0, 1, {"reward": stage})


def row(stage: StageStatus) -> list[str]:
    """The cells of the stage's row: name, lag, workers, partitions and so on."""
    console = Console(width=120, force_terminal=False)
    with console.capture() as captured:
        console.print(as_table(status_of(stage)))
    line = next(line for line in captured.get().splitlines() if "reward" in line)
    return [cell.strip() for cell in line.split("│")[1:-1]]


def test_more_workers_than_partitions_are_marked_and_named() -> None:
    stage = stage_status("reward", 7, [worker("a", 2), worker("c", 0), worker("b", 0)])
    assert (stage.partitions, stage.idle) == (2, ("b", "c"))
    assert row(stage)[:4] == ["reward", "7", "3 (2 idle)", "2"]
    (line,) = idle_lines(status_of(stage))
    assert "receive nothing: b, c" in line


def test_workers_that_all_hold_partitions_are_not_marked() -> None:
    stage = stage_status("reward", 0, [worker("a", 2), worker("b", 1)])
    assert row(stage)[:4] == ["reward", "0", "2", "3"]
    assert idle_lines(status_of(stage)) == []


def test_a_worker_that_is_starting_or_does_not_say_is_not_idle() -> None:
    stage = stage_status("reward", 0, [worker("a", 0, ready=False), worker("b", -1)])
    assert (stage.partitions, stage.idle) == (0, ())


def test_without_the_registry_nothing_is_known_of_partitions() -> None:
    stage = stage_status("reward", 3, None)
    assert row(stage)[:4] == ["reward", "3", "?", "?"]
    assert idle_lines(status_of(stage)) == []


def test_workers_that_can_complete_nothing_say_why_each_reason_once() -> None:
    reason = "the model server refuses the key: 401"
    workers = [
        WorkerInfo(stage="reward", id=name, trouble=text)
        for name, text in (("a", reason), ("b", reason), ("c", ""))
    ]
    stage = stage_status("reward", 3, workers)
    assert trouble_lines(status_of(stage)) == [f"reward cannot work: {reason}"]
    assert trouble_lines(status_of(stage_status("reward", 3, None))) == []
