"""The pinned versions are compared with a list of advisories, and an old list is not a pass."""

from __future__ import annotations

import json
import re
from datetime import date
from pathlib import Path
from typing import Any

import pytest

import check_audit

TODAY = date(2026, 12, 1)
PIN = "aiohttp==3.14.5"
REPORT = {
    "dependencies": [
        {
            "name": "aiohttp",
            "version": "3.14.5",
            "vulns": [
                {"id": "PYSEC-1", "fix_versions": ["3.14.6"], "aliases": [], "description": ""}
            ],
        },
        {"name": "torch", "version": "2.13.0+cpu", "vulns": []},
        {"name": "promptmill", "skip_reason": "not found"},
    ],
    "fixes": [],
}


def known(**changes: Any) -> dict[str, Any]:
    """A list that was made today for the pin, and found nothing."""
    today = TODAY.isoformat()
    base = {"locked": today, "audited": today, "versions": [PIN], "advisories": {}, "accepted": {}}
    return base | changes


def test_a_list_of_today_for_these_versions_leaves_nothing_open() -> None:
    assert list(check_audit.problems(known(), {PIN})) == []
    assert list(check_audit.gaps(known(), {PIN}, TODAY)) == []


def test_a_pinned_version_with_an_advisory_is_an_error_with_the_remedy() -> None:
    listed = check_audit.imported(known(), [REPORT], TODAY)
    (problem,) = check_audit.problems(listed, {PIN})
    assert "aiohttp==3.14.5 has PYSEC-1 (corrected in: 3.14.6): run scripts/lock" in problem
    assert list(check_audit.problems(listed, {"aiohttp==3.14.6"})) == []
    accepted = listed | {"accepted": {"PYSEC-1": "the server part is not used"}}
    assert list(check_audit.problems(accepted, {PIN})) == []


def test_an_import_keeps_the_reasons_and_leaves_out_what_was_not_looked_up() -> None:
    listed = check_audit.imported(known(accepted={"PYSEC-9": "why"}), [REPORT], TODAY)
    assert listed["versions"] == [PIN, "torch==2.13.0"]
    assert listed["accepted"] == {"PYSEC-9": "why"}
    assert listed["audited"] == "2026-12-01"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"audited": None}, "NOT AUDITED: no list"),
        ({"audited": "2026-10-01"}, "61 days old"),
        ({"versions": []}, r"NOT AUDITED: 1 versions .*aiohttp==3\.14\.5"),
        ({"locked": "2026-06-01"}, "the locks are 183 days old"),
    ],
)
def test_what_the_list_does_not_say_is_said(changes: dict[str, Any], said: str) -> None:
    (gap,) = check_audit.gaps(known(**changes), {PIN}, TODAY)
    assert re.search(said, gap)


def test_gaps_are_warnings_except_for_a_release(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "audit.json"
    file.write_text(json.dumps(known(audited=None)))
    monkeypatch.setattr(check_audit, "LIST", file)
    assert check_audit.main([]) == 0
    assert "warning: NOT AUDITED" in capsys.readouterr().err
    assert check_audit.main(["--strict"]) == 1


def test_the_list_in_the_repository_can_be_read_and_matches_no_pin() -> None:
    listed = json.loads(check_audit.LIST.read_text())
    assert list(check_audit.problems(listed, check_audit.locked_versions())) == []
