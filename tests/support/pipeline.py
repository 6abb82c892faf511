"""The whole pipeline as a user runs it: the command line, real processes, tables read back."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
from deltalake import DeltaTable

from support.store_audit import latest_letters

PROGRAM = str(Path(sys.executable).parent / "promptmill")
OUTCOMES = ("records", "rejects", "dead_letters")


@dataclass(frozen=True)
class Pipeline:
    """One home with its stack, and the commands on it.

    Attributes:
        home: of the stack and the store.
        settings: further variables of all commands, such as the address of another stack.
    """

    home: Path
    settings: Mapping[str, str] = field(default_factory=dict)

    @property
    def environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if "PROMPTMILL" not in name}
        return kept | {
            "PROMPTMILL_HOME": str(self.home),
            "PROMPTMILL_SESSION_TIMEOUT_S": "10",  # the partitions of a killed worker wait so long
            **self.settings,
        }

    def call(self, *arguments: str, within_s: float = 120) -> subprocess.CompletedProcess[str]:
        """Run one promptmill command to its end."""
        return subprocess.run(
            [PROGRAM, *arguments],
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=within_s,
            check=False,
        )

    def json(self, *arguments: str, within_s: float = 120, code: int = 0) -> dict[str, Any]:
        """What a command prints with ``--json``."""
        done = self.call(*arguments, "--json", within_s=within_s)
        assert done.returncode == code, done.stderr[-2_000:]
        answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        return answer

    @contextmanager
    def workers(self, *arguments: str, **environment: str) -> Iterator[Workers]:
        """``promptmill run`` with these arguments and variables, stopped at the end."""
        with (self.home / "run.log").open("a") as log:
            process = subprocess.Popen(
                [PROGRAM, "run", *arguments],
                env=self.environment | environment,
                stdout=log,
                stderr=log,
                text=True,
            )
        try:
            yield Workers(process)
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(60)
            except subprocess.TimeoutExpired:
                process.kill()

    def settle(self, run: str, within_s: float = 120) -> dict[str, Any]:
        """Wait until the run is settled; its status."""
        limit = str(int(within_s))
        return self.json("status", "--run", run, "--wait", limit, within_s=within_s + 60)

    def table(self, name: str) -> list[dict[str, Any]]:
        """All rows of a Delta table (letters as they are now), read without promptmill's code."""
        folder = self.home / "store" / name
        rows: list[dict[str, Any]] = DeltaTable(str(folder)).to_pyarrow_table().to_pylist()
        return latest_letters(rows) if name == "dead_letters" else rows

    def ids(self, table: str, run: str) -> list[str]:
        """The prompts of the run in this table, one entry for each row."""
        return [row["prompt_id"] for row in self.table(table) if row["run"] == run]

    def audit(self, run: str, published: set[str]) -> dict[str, set[str]]:
        """Every published prompt is in exactly one table, and no record is there twice."""
        found = {table: set(self.ids(table, run)) for table in OUTCOMES}
        records = [row["record_id"] for row in self.table("records")]
        assert len(records) == len(set(records)), "a record is stored twice"
        assert set.union(*found.values()) == published, "lost or invented prompts"
        assert sum(map(len, found.values())) == len(published), "a prompt has two outcomes"
        return found


@dataclass(frozen=True)
class Workers:
    """A running ``promptmill run``."""

    process: subprocess.Popen[str]

    def kill(self, stage: str) -> int:
        """SIGKILL one worker of this stage; its process id."""
        for child in psutil.Process(self.process.pid).children(recursive=True):
            if f"promptmill.{stage}" in child.cmdline():
                child.kill()
                return int(child.pid)
        raise AssertionError(f"no {stage} worker runs")


def write_prompts(path: Path, prompts: Sequence[dict[str, Any]]) -> Path:
    """A file of prompts for ``promptmill publish``."""
    path.write_text("".join(json.dumps(prompt) + "\n" for prompt in prompts))
    return path


def receipts(path: Path) -> set[str]:
    """The prompt ids that ``publish --receipts`` wrote."""
    lines = (json.loads(line) for line in path.read_text().splitlines())
    return {line["prompt_id"] for line in lines if "prompt_id" in line}
