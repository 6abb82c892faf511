"""Check that every package is pinned once, with hashes, and to one version in all locks."""

from __future__ import annotations

import re
import sys
from collections import defaultdict
from pathlib import Path

LOCKS = Path(__file__).parent.parent / "infra" / "locks"
PIN = re.compile(r"^([A-Za-z0-9._-]+)(?:\[[^\]]*\])?==([^ ;\\]+) *(?:; *([^\\]*))?")
ADDRESS = re.compile(r"https?://|--index-url|--extra-index-url|--find-links")
ENGINES = {"torch", "triton"}  # the lock of each engine has its own build


def pins_of(lock: Path) -> list[tuple[str, str]]:
    """Return (package with its marker, version) of every pin in the lock, in order.

    A lock serves several versions of Python and machines, so it may contain a package once for each
    marker (``; python_full_version < '3.12'``).
    """
    found = (PIN.match(line) for line in lock.read_text().splitlines())
    return [
        (f"{pin[1].lower().replace('_', '-')} {(pin[3] or '').strip()}".strip(), pin[2])
        for pin in found
        if pin
    ]


def problems() -> list[str]:
    """Return a message for each error in the locks."""
    versions: dict[str, set[str]] = defaultdict(set)
    wrong = []
    for lock in sorted(LOCKS.glob("*.txt")):
        pins = pins_of(lock)
        names = [name for name, _ in pins]
        wrong += [f"{lock.name}: {n} is pinned twice" for n in set(names) if names.count(n) > 1]
        if ADDRESS.search(lock.read_text()):
            wrong.append(f"{lock.name}: contains the address of an index; compile it without one")
        for name, version in pins:
            if "gpu" not in lock.name:
                versions[name].add(version)
    wrong += [
        f"{name} is pinned to {', '.join(sorted(found))}: run scripts/lock"
        for name, found in versions.items()
        if len(found) > 1 and name not in ENGINES
    ]
    return wrong


if __name__ == "__main__":
    found = problems()
    sys.stderr.writelines(f"check_pins: {problem}\n" for problem in found)
    sys.exit(1 if found else 0)
