"""One broker, one Redis and one pipeline for all chaos tests; some build their own.

All of these tests run in one event loop: the pipeline's processes belong to it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack

import pytest
import pytest_asyncio

from support.chaos.plant import Plant
from support.chaos.site import Site
from support.stack import running_servers, unique_name


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """One broker; tests may kill and freeze it, and heal it before they end."""
    with running_servers(tmp_path_factory.mktemp("chaos")) as servers:
        yield Site(servers, tmp_path_factory.mktemp("plants"))


class Plants:
    """The pipeline that tests share, built anew after a test that left it out of balance."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._stack = AsyncExitStack()
        self._plant: Plant | None = None

    async def get(self) -> Plant:
        """With one worker of each stage behind instruct."""
        if self._plant is None or not self._plant.is_balanced:
            await self.close()
            self._plant = Plant(self._site, f"{unique_name('c')}.")
            await self._stack.enter_async_context(self._plant.running())
            await self._plant.hire_crew()
        return self._plant

    async def close(self) -> None:
        """Stop the pipeline."""
        await self._stack.aclose()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def plants(site: Site) -> AsyncIterator[Plants]:
    """The pipeline that tests share."""
    plants = Plants(site)
    yield plants
    await plants.close()


@pytest_asyncio.fixture(loop_scope="session")
async def plant(plants: Plants) -> AsyncIterator[Plant]:
    """A pipeline that lacks instruct workers; those that a test hires leave with it."""
    plant = await plants.get()
    async with plant.shift():
        yield plant


@pytest_asyncio.fixture(loop_scope="session")
async def fresh_plant(site: Site) -> AsyncIterator[Plant]:
    """A pipeline of this test's own, without workers."""
    plant = Plant(site, f"{unique_name('c')}.")
    async with plant.running():
        yield plant
