"""One broker, one Redis and one pipeline for all chaos tests; some build their own.

All of these tests run in one event loop: the pipeline's processes belong to it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack

import pytest
import pytest_asyncio

from support.chaos.backend import Backend
from support.chaos.pipeline import PipelineUnderTest
from support.stack import running_servers, unique_name


@pytest.fixture(scope="session")
def backend(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Backend]:
    """One broker; tests may kill and freeze it, and heal it before they end."""
    with running_servers(tmp_path_factory.mktemp("chaos")) as servers:
        yield Backend(servers, tmp_path_factory.mktemp("plants"))


class Pipelines:
    """The pipeline that tests share, built anew after a test that left it out of balance."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._stack = AsyncExitStack()
        self._pipeline: PipelineUnderTest | None = None

    async def get(self) -> PipelineUnderTest:
        """With one worker of each stage behind instruct."""
        if self._pipeline is None or not self._pipeline.is_balanced:
            await self.close()
            self._pipeline = PipelineUnderTest(self._backend, f"{unique_name('c')}.")
            await self._stack.enter_async_context(self._pipeline.running())
            await self._pipeline.start_other_stages()
        return self._pipeline

    async def close(self) -> None:
        """Stop the pipeline."""
        await self._stack.aclose()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def pipelines(backend: Backend) -> AsyncIterator[Pipelines]:
    """The pipeline that tests share."""
    pipelines = Pipelines(backend)
    yield pipelines
    await pipelines.close()


@pytest_asyncio.fixture(loop_scope="session")
async def pipeline(pipelines: Pipelines) -> AsyncIterator[PipelineUnderTest]:
    """A pipeline that lacks instruct workers; those that a test starts leave with it."""
    pipeline = await pipelines.get()
    async with pipeline.one_test():
        yield pipeline


@pytest_asyncio.fixture(loop_scope="session")
async def fresh_pipeline(backend: Backend) -> AsyncIterator[PipelineUnderTest]:
    """A pipeline of this test's own, without workers."""
    pipeline = PipelineUnderTest(backend, f"{unique_name('c')}.")
    async with pipeline.running():
        yield pipeline
