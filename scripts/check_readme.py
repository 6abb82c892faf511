"""Check that every promptmill command in the README exists, and has the flags shown there.

``tests/e2e/test_readme.py`` also runs the commands of ``bash`` blocks one by one, and the ``sh``
block (the quickstart) as one script.
"""

from __future__ import annotations

import re
import subprocess
import sys
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parent.parent
BLOCK = re.compile(r"^```(bash|sh|console)\n(.*?)^```", re.MULTILINE | re.DOTALL)
PROGRAM = re.compile(r"(?:^|(?<=\| ))promptmill [^|>&;]*")


def commands(kind: str | None = None) -> list[str]:
    """Return the command lines of the README's blocks, of one kind or all."""
    blocks = BLOCK.findall((ROOT / "README.md").read_text())
    return [
        line
        for found, text in blocks
        if kind in {None, found}
        for line in text.splitlines()
        if line.strip()
    ]


def problem_with(command: str) -> str | None:
    """Return the reason why this command cannot work, or ``None``."""
    if command.startswith("./"):
        program = command.split(maxsplit=1)[0]
        return None if (ROOT / program).is_file() else f"{program} does not exist"
    called = PROGRAM.search(command)
    return None if called is None else _problem_with_program(called[0])


def _problem_with_program(command: str) -> str | None:
    _, *arguments = command.split()
    words = [a for a in arguments if not a.startswith("-")][: 2 if arguments[0] == "run" else 1]
    words = [word for word in words if word.islower() and "/" not in word]
    shown = _help(*words)
    if shown.returncode:
        return f"promptmill {' '.join(words)} --help exits with {shown.returncode}"
    flags = [a for a in arguments if a.startswith("--")]
    missing = [flag for flag in flags if flag not in shown.stdout]
    return f"{command!r}: no flag {', '.join(missing)}" if missing else None


@cache
def _help(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(  # noqa: S603 - our own program, with words of our own README
        [Path(sys.executable).parent / "promptmill", *words, "--help"],
        capture_output=True,
        text=True,
        check=False,
    )


if __name__ == "__main__":
    problems = [problem for command in commands() if (problem := problem_with(command))]
    sys.stderr.writelines(f"check_readme: {problem}\n" for problem in problems)
    sys.exit(1 if problems else 0)
