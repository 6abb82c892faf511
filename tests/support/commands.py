"""The command line, run in this process, and what a run of it left behind."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeAlias

import orjson
import pytest
import structlog

from promptmill.cli import main as cli
from promptmill.cli.output import LIBRARIES


@dataclass(frozen=True, slots=True)
class Finished:
    """A command that has ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The one JSON document on standard output."""
        (line,) = self.out.splitlines()
        return orjson.loads(line)

    @property
    def json_lines(self) -> list[Any]:
        """One JSON document for each line of standard output."""
        return [orjson.loads(line) for line in self.out.splitlines()]


Promptmill: TypeAlias = Callable[..., Finished]
"""Runs ``promptmill`` with these arguments."""


@contextmanager
def command_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], **settings: str
) -> Iterator[Promptmill]:
    """Runs commands with these settings (``home`` …) in the environment and no others."""
    for name in [name for name in os.environ if name.startswith("PROMPTMILL_")]:
        monkeypatch.delenv(name)
    for name in ("KAFKA", "REDIS", "STORE"):  # so that what flags set is undone
        monkeypatch.setenv(f"PROMPTMILL_{name}", "x")
        monkeypatch.delenv(f"PROMPTMILL_{name}")
    for name, value in settings.items():
        monkeypatch.setenv(f"PROMPTMILL_{name.upper()}", value)

    def run(*arguments: object) -> Finished:
        monkeypatch.setattr(sys, "argv", ["promptmill", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            cli.main()
        said = capsys.readouterr()
        code = ended.value.code
        return Finished(code if isinstance(code, int) else 0, said.out, said.err)

    logs, levels = structlog.get_config(), [logging.getLogger(name).level for name in LIBRARIES]
    try:
        yield run
    finally:
        structlog.configure(**logs)
        for name, level in zip(LIBRARIES, levels, strict=True):
            logging.getLogger(name).setLevel(level)
