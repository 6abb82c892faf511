"""Compare the pinned versions with the stored list of advisories.

The check needs no network: ``scripts/audit`` writes the list on a machine with a network, and
``infra/locks/audit.json`` stores it with its date. A pinned version with an advisory is an error. A
list that is missing, old, or made for other versions causes a warning each time, so that a missing
check does not look like a passed one. ``--strict`` makes the warning an error, for releases.

``--import FILE`` replaces the list with the output of ``pip-audit --format json``.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from check_pins import LOCKS, pins_of

LIST = LOCKS / "audit.json"
OLD_LIST_DAYS = 30
OLD_LOCK_DAYS = 120
"""The age of an old lock; most security fixes reach a lock only when it is compiled again."""

REFRESH = "run scripts/audit on a machine with a network"


def locked_versions() -> set[str]:
    """Return ``name==version`` of all pins in all locks."""
    return {
        f"{name.partition(' ')[0]}=={version.partition('+')[0]}"
        for lock in LOCKS.glob("*.txt")
        for name, version in pins_of(lock)
    }


def problems(known: Mapping[str, Any], pins: set[str]) -> Iterator[str]:
    """Yield the advisories that apply to pinned versions and were not accepted."""
    for pin, advisories in sorted(known["advisories"].items()):
        for advisory in advisories if pin in pins else ():
            if advisory["id"] not in known["accepted"]:
                fixed = ", ".join(advisory["fixed_in"]) or "no version yet"
                yield (
                    f"{pin} has {advisory['id']} (corrected in: {fixed}): run scripts/lock, or "
                    f"say in 'accepted' of {LIST.name} why it does not apply"
                )


def gaps(known: Mapping[str, Any], pins: set[str], today: date) -> Iterator[str]:
    """Yield the reasons why the list does not cover all pins."""
    age = (today - date.fromisoformat(known["locked"])).days
    if age > OLD_LOCK_DAYS:
        yield f"the locks are {age} days old: run scripts/lock"
    if not known["audited"]:
        yield f"NOT AUDITED: no list of advisories was ever made: {REFRESH}"
        return
    age = (today - date.fromisoformat(known["audited"])).days
    if age > OLD_LIST_DAYS:
        yield f"the list of advisories is {age} days old and has no later ones: {REFRESH}"
    if missing := sorted(pins - set(known["versions"])):
        named = ", ".join(missing[:5]) + (" …" if len(missing) > 5 else "")
        yield f"NOT AUDITED: {len(missing)} versions are not in the list ({named}): {REFRESH}"


def imported(known: Mapping[str, Any], found: Sequence[Mapping[str, Any]], today: date) -> Any:
    """Return the list after an audit.

    Args:
        known: the earlier list, whose reasons and lock date are kept.
        found: the reports of pip-audit, one for each lock.
        today: the date of the audit.
    """
    checked = [
        dependency
        for report in found
        for dependency in report["dependencies"]
        if "version" in dependency  # the others could not be looked up
    ]
    advisories = {
        f"{each['name']}=={each['version'].partition('+')[0]}": [
            {"id": vuln["id"], "fixed_in": vuln["fix_versions"]} for vuln in each["vulns"]
        ]
        for each in checked
        if each["vulns"]
    }
    versions = {f"{each['name']}=={each['version'].partition('+')[0]}" for each in checked}
    return {
        **known,
        "audited": today.isoformat(),
        "versions": sorted(versions),
        "advisories": dict(sorted(advisories.items())),
    }


def _write(known: Mapping[str, Any]) -> None:
    LIST.write_text(json.dumps(known, indent=1, ensure_ascii=False) + "\n")


def main(arguments: Sequence[str]) -> int:
    """Check or replace the list, and return the exit code."""
    known, today = json.loads(LIST.read_text()), datetime.now(UTC).date()
    if arguments[:1] == ["--import"]:
        found = [json.loads(Path(file).read_text()) for file in arguments[1:]]
        _write(imported(known, found, today))
        return 0
    if arguments == ["--locked-today"]:
        _write({**known, "locked": today.isoformat()})
        return 0
    pins = locked_versions()
    wrong, open_questions = list(problems(known, pins)), list(gaps(known, pins, today))
    for problem in wrong:
        sys.stderr.write(f"check_audit: {problem}\n")
    for question in open_questions:
        sys.stderr.write(f"check_audit: warning: {question}\n")
    return 1 if wrong or (open_questions and arguments == ["--strict"]) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
