"""A store with every outcome, in two runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.stats import two_runs


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The URI of a store; see :func:`support.stats.two_runs`."""
    folder: Path = tmp_path_factory.mktemp("tables") / "store"
    two_runs(folder)
    return str(folder)
