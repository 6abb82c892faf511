"""One stack for all end-to-end tests; each has a run of its own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from support.pipeline import Pipeline


@pytest.fixture(scope="session")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pipeline]:
    """A home with a running Kafka and Redis, started by the command line."""
    pipeline = Pipeline(tmp_path_factory.mktemp("home"))
    pipeline.json("up")
    yield pipeline
    pipeline.json("down", "--purge")
