"""The supervisor: workers that end are started again, all of them stop together."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from promptmill.core.errors import Misconfigured
from promptmill.gateway.supervisor import Spec, Supervisor
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
    await eventually(lambda: len(reports.of("worker_started")) >= 2, timeout_s=20)
    keeper.stop()
    await task
    assert reports.of("worker_ended")[0]["code"] == 3


async def test_all_workers_stop_when_told(tmp_path: Path) -> None:
    reports = Reports()
    keeper = supervisor([Program("a", "x"), Program("b", "x")], tmp_path, reports)
    task = asyncio.create_task(keeper.run())
    await eventually(lambda: len(reports.of("worker_started")) == 2)
    keeper.stop()
    await asyncio.wait_for(task, 20)
    assert len(reports.of("worker_stopped")) == 2
    for started in reports.of("worker_started"):
        with pytest.raises(ProcessLookupError):
            os.kill(int(str(started["pid"])), 0)


async def test_a_misconfigured_worker_ends_all_of_them_with_its_last_words(tmp_path: Path) -> None:
    reports = Reports()
    wrong = "import sys; sys.stderr.write('no model: give --model'); raise SystemExit(78)"
    keeper = supervisor([Program("a", "x"), Program("b", "x", code=wrong)], tmp_path, reports)
    with pytest.raises(Misconfigured, match=r"b cannot run.*no model: give --model"):
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
