"""The table that most tests of streams read."""

from __future__ import annotations

from pathlib import Path

import pytest

from training.integration.growing import Growing


@pytest.fixture
def table(tmp_path: Path) -> Growing:
    """Five records in each of eight shards."""
    made = Growing(tmp_path / "store")
    made.grow(5)
    return made
