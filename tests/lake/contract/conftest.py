"""The same suite over a store in memory and over Delta Lake."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.store import AnyStore, DeltaStore, SharedStore


@pytest.fixture(params=["memory", pytest.param("delta", marks=pytest.mark.real)])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> AnyStore:
    """An empty store; each sink that it makes stands for another process's."""
    return SharedStore() if request.param == "memory" else DeltaStore(tmp_path / "store")
