"""The supervisor: workers that end are started again, all of them stop together."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from promptmill.cli.supervisor import Spec, Supervisor
from promptmill.runtime.errors import Fatal, Misconfigured
from support.waiting import eventually

FOREVER = "import signal; signal.pause()"


@dataclass(frozen=True, slots=True)
class Program(Spec):
    """A worker that is a line of Python."""

    code: str = FOREVER

    @property
    def command(self) -> list[str]:
        return [sys.executable, "-c", self.code]


@dataclass
class Reports:
    """What the supervisor said."""

    events: list[tuple[str, str, dict[str, object]]] = field(default_factory=list)

    def __call__(self, event: str, worker: str, fields: dict[str, object]) -> None:
        self.events.append((event, worker, fields))

    def of(self, event: str) -> list[dict[str, object]]:
        return [fields for name, _, fields in self.events if name == event]


def supervisor(
    specs: Sequence[Spec], folder: Path, reports: Reports, grace_s: float = 5.0
) -> Supervisor:
    return Supervisor(specs, dict(os.environ), folder, reports, grace_s)


async def test_a_worker_that_ends_is_started_again(tmp_path: Path) -> None:
    reports = Reports()
    keeper = supervisor([Program("a", "x", code="raise SystemExit(3)")], tmp_path, reports)
    task = asyncio.create_task(keeper.run())
    await eventually(lambda: len(reports.of("worker_started")) >= 2)
    keeper.stop()
    await task
    assert reports.of("worker_ended")[0]["code"] == 3


async def test_all_workers_stop_when_told(tmp_path: Path) -> None:
    reports = Reports()
    keeper = supervisor([Program("a", "x"), Program("b", "x")], tmp_path, reports)
    task = asyncio.create_task(keeper.run())
    await eventually(lambda: len(reports.of("worker_started")) == 2)
    keeper.stop()
    await asyncio.wait_for(task, 60)
    assert len(reports.of("worker_stopped")) == 2
    for started in reports.of("worker_started"):
        with pytest.raises(ProcessLookupError):
            os.kill(int(str(started["pid"])), 0)


async def test_a_misconfigured_worker_ends_all_of_them_with_its_last_words(tmp_path: Path) -> None:
    reports = Reports()
    wrong = "import sys; sys.stderr.write('no model was given: use --model'); raise SystemExit(78)"
    keeper = supervisor([Program("a", "x"), Program("b", "x", code=wrong)], tmp_path, reports)
    with pytest.raises(Misconfigured, match=r"b cannot run.*no model was given: use --model"):
        await asyncio.wait_for(keeper.run(), 30)
    assert len(reports.of("worker_stopped")) >= 1


async def test_a_second_supervisor_of_the_same_home_is_refused(tmp_path: Path) -> None:
    reports = Reports()
    first = supervisor([Program("a", "x")], tmp_path, reports)
    task = asyncio.create_task(first.run())
    await eventually(lambda: reports.of("worker_started"))
    with pytest.raises(Misconfigured, match="another `promptmill run --all`"):
        await supervisor([Program("a", "x")], tmp_path, reports).run()
    first.stop()
    await task
    third = supervisor([], tmp_path, reports)
    third.stop()
    await third.run()


@dataclass(frozen=True, slots=True)
class Missing(Spec):
    """A worker whose program does not exist: the operating system refuses to start it."""

    @property
    def command(self) -> list[str]:
        return ["/nonexistent/program"]


async def test_a_worker_that_cannot_be_started_ends_the_command_and_stops_the_others(
    tmp_path: Path,
) -> None:
    reports = Reports()
    keeper = supervisor([Program("a", "x"), Missing("b", "x")], tmp_path, reports)
    with pytest.raises(Fatal, match=r"b cannot be started \(.*No such file"):
        await asyncio.wait_for(keeper.run(), 30)
    pids = [int(str(started["pid"])) for started in reports.of("worker_started")]
    assert len(reports.of("worker_stopped")) == len(pids)
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


async def test_a_worker_whose_log_cannot_be_opened_at_its_restart_ends_the_command(
    tmp_path: Path,
) -> None:
    reports = Reports()
    log = tmp_path / "b.log"
    block = f"import os; os.unlink({str(log)!r}); os.mkdir({str(log)!r})"
    keeper = supervisor([Program("a", "x"), Program("b", "x", code=block)], tmp_path, reports)
    with pytest.raises(Fatal, match=r"b cannot be started \(.*Is a directory"):
        await asyncio.wait_for(keeper.run(), 30)
    assert [worker for event, worker, _ in reports.events if event == "worker_stopped"] == ["a"]


async def test_any_failure_of_a_keeper_ends_the_command_and_stops_the_workers(
    tmp_path: Path,
) -> None:
    reports = Reports()

    def broken(event: str, worker: str, fields: dict[str, object]) -> None:
        reports(event, worker, fields)
        if worker == "b":
            raise BrokenPipeError("nobody reads the reports")

    keeper = Supervisor(
        [Program("a", "x"), Program("b", "x")], dict(os.environ), tmp_path, broken, 5.0
    )
    with pytest.raises(BrokenPipeError):
        await asyncio.wait_for(keeper.run(), 30)
    for started in reports.of("worker_started"):
        with pytest.raises(ProcessLookupError):
            os.kill(int(str(started["pid"])), 0)
