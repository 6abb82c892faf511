"""Runs tests against a copy of the source that has one known bug in it.

Each file of ``tests/mutants`` is a patch that puts one known bug of delivery into the source. The
lines before its first ``diff`` say what it is and which tests must fail::

    Bug: commit that can go back
    Noticed-by: tests/stream/property/test_offsets.py
    Noticed-by-row: tests/chaos/test_instruct.py::test_01_sigkill_instruct_during_generation

``Noticed-by-row`` names rows of the fault matrix; they take a minute each.
"""

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

ROOT = Path(__file__).parents[3]
MUTANTS = ROOT / "tests" / "mutants"
TIME_LIMIT_S = 600
_FAILED = re.compile(r"^(?:FAILED|ERROR) (\S+)", re.MULTILINE)
_ALL_PASSED, _SOME_FAILED = 0, 1


class PatchOutdated(Exception):
    """The source has changed where a mutant's patch changes it."""


@dataclass(frozen=True, slots=True)
class Mutant:
    """One known bug.

    Attributes:
        name: for people.
        patch: puts it into the source.
        tests: each of these must fail.
        rows: rows of the fault matrix that must fail too.
    """

    name: str
    patch: Path
    tests: tuple[str, ...]
    rows: tuple[str, ...] = ()


def read_mutants(folder: Path = MUTANTS) -> tuple[Mutant, ...]:
    """The mutants of all patches in the folder, by file name.

    Raises:
        ValueError: a patch does not name its bug, or no test that notices it.
    """
    return tuple(_read_mutant(patch) for patch in sorted(folder.glob("*.patch")))


def _read_mutant(patch: Path) -> Mutant:
    header = patch.read_text("utf-8").partition("\ndiff ")[0]
    said: dict[str, list[str]] = {}
    for line in header.splitlines():
        name, _, value = line.partition(": ")
        said.setdefault(name, []).append(value)
    if len(said.get("Bug", [])) != 1 or not said.get("Noticed-by"):
        raise ValueError(f"{patch.name} needs one line 'Bug: …' and lines 'Noticed-by: TEST'")
    rows = said.get("Noticed-by-row", [])
    return Mutant(said["Bug"][0], patch, tuple(said["Noticed-by"]), tuple(rows))


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
            with copy_of_the_source() as source:
                code, _, said = run(source, test)
            sound[test] = "" if code == _ALL_PASSED else f"{test} fails without it: {said}"
        if sound[test]:
            return Verdict(mutant, problem=sound[test])
    caught: list[str] = []
    missed: list[str] = []
    with copy_of_the_source(mutant.patch) as source:
        for test in tests:
            code, failed, said = run(source, test)
            if code not in (_ALL_PASSED, _SOME_FAILED):
                return Verdict(mutant, problem=f"{test} cannot run: {said}")
            caught += failed
            missed += [test] if code == _ALL_PASSED else []
    return Verdict(mutant, caught, missed)


@contextmanager
def copy_of_the_source(patch: Path | None = None) -> Iterator[Path]:
    """``services`` and ``schemas``, patched, in a folder that is deleted afterwards.

    Raises:
        PatchOutdated: the source has changed where the patch changes it.
    """
    with tempfile.TemporaryDirectory(prefix="promptmill-mutant-") as name:
        folder = Path(name)
        for part in ("services", "schemas"):
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(ROOT / part, folder / part, ignore=ignored)
        if patch is not None:
            apply(patch, folder)
        yield folder


def apply(patch: Path, folder: Path, *options: str) -> None:
    """Run ``git apply`` with this patch on a folder that holds ``services`` and ``schemas``.

    Raises:
        PatchOutdated: it does not apply.
    """
    done = subprocess.run(
        ["git", "apply", *options, str(patch)],  # noqa: S607 - the git of the PATH
        cwd=folder,
        # A repository around the folder would make git pass over everything outside of it.
        env={**os.environ, "GIT_CEILING_DIRECTORIES": str(folder.parent)},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise PatchOutdated(
            f"{patch.name} does not apply: {done.stderr.strip()}; put the bug into the source "
            f"again and write its `git diff` below the header of tests/mutants/{patch.name}"
        )


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
