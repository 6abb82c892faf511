"""The command line on a machine where nothing runs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from support.commands import Promptmill, command_line


@pytest.fixture
def promptmill(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> Iterator[Promptmill]:
    """Commands with an empty home and nothing else set."""
    with command_line(monkeypatch, capsys, home=str(tmp_path / "home")) as run:
        yield run
