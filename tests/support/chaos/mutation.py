"""Runs tests against a copy of the source that has one known bug in it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from support.chaos.mutants import Change, Mutant

ROOT = Path(__file__).parents[3]
TIME_LIMIT_S = 600
_FAILED = re.compile(r"^(?:FAILED|ERROR) (\S+)", re.MULTILINE)
_ALL_PASSED, _SOME_FAILED = 0, 1


class TextGone(Exception):
    """The source has changed: a mutant's text does not stand in it exactly once."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the tests said of a mutant.

    Attributes:
        missed: tests that should have failed and did not.
        caught_by: tests that failed.
        problem: why nothing can be said.
    """

    mutant: Mutant
    caught_by: Sequence[str] = ()
    missed: Sequence[str] = ()
    problem: str = ""

    @property
    def is_caught(self) -> bool:
        """Every test that should notice did."""
        return not (self.missed or self.problem)


def verdicts(mutants: Iterable[Mutant], *, rows: bool = False) -> Iterator[Verdict]:
    """Try each mutant.

    Args:
        rows: the rows of the fault matrix must notice too.
    """
    sound: dict[str, str] = {}
    for mutant in mutants:
        tests = [*mutant.tests, *(mutant.rows if rows else ())]
        yield _try(mutant, tests, sound)


def _try(mutant: Mutant, tests: Sequence[str], sound: dict[str, str]) -> Verdict:
    """A test that fails without the bug says nothing, so each is run without it once."""
    for test in tests:
        if test not in sound:
            with copy_of_the_source(()) as source:
                code, _, said = run(source, test)
            sound[test] = "" if code == _ALL_PASSED else f"{test} fails without it: {said}"
        if sound[test]:
            return Verdict(mutant, problem=sound[test])
    caught: list[str] = []
    missed: list[str] = []
    with copy_of_the_source(mutant.changes) as source:
        for test in tests:
            code, failed, said = run(source, test)
            if code not in (_ALL_PASSED, _SOME_FAILED):
                return Verdict(mutant, problem=f"{test} cannot run: {said}")
            caught += failed
            missed += [test] if code == _ALL_PASSED else []
    return Verdict(mutant, caught, missed)


@contextmanager
def copy_of_the_source(changes: Sequence[Change]) -> Iterator[Path]:
    """``services`` and ``schemas`` with these changes, in a folder that is deleted afterwards.

    Raises:
        TextGone: a text to be replaced is not there, or not once.
    """
    with tempfile.TemporaryDirectory(prefix="promptmill-mutant-") as name:
        folder = Path(name)
        for part in ("services", "schemas"):
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(ROOT / part, folder / part, ignore=ignored)
        for change in changes:
            apply(folder / "services" / change.file, change)
        yield folder


def apply(file: Path, change: Change) -> None:
    """Replace the text in the file."""
    text = file.read_text("utf-8")
    if (found := text.count(change.old)) != 1:
        raise TextGone(f"{change.file} has {found} times, not once: {change.old!r}")
    file.write_text(text.replace(change.old, change.new), "utf-8")


def run(source: Path, test: str) -> tuple[int, list[str], str]:
    """Run a test against this source; pytest's exit code, what failed, and its last line."""
    paths = [str(source / "services"), str(source / "schemas")]
    options = ("-q", "-x", "-p", "no:cacheprovider", "--no-header", "--tb=no")
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", *options),
            *("-o", f"pythonpath={' '.join([*paths, 'tests'])}", test),
        ],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        capture_output=True,
        text=True,
        timeout=TIME_LIMIT_S,
        check=False,
    )
    lines = done.stdout.strip().splitlines() or done.stderr.strip().splitlines() or [""]
    return done.returncode, _FAILED.findall(done.stdout), lines[-1]
