"""Real models in real vLLM. One engine at a time lives inside the test's process."""

from __future__ import annotations

import gc
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from promptmill.inference.vllm.generate import VllmGenerator
from promptmill.inference.vllm.grade import VllmGrader
from promptmill.inference.vllm.options import VllmOptions
from promptmill_demo.models.demo import DemoModels
from promptmill_demo.models.untrained import make_untrained_models
from support.engines import started


@pytest.fixture(scope="session", autouse=True)
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A home of these tests' own, so that vLLM's cache goes nowhere else."""
    folder = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PROMPTMILL_HOME", str(folder))
        yield folder


@pytest.fixture(autouse=True)
def collected(request: pytest.FixtureRequest) -> Iterator[None]:
    """vLLM leaves its ZeroMQ context to the garbage collector, which warns: not in other tests.

    Tests without vLLM leave none, and collecting takes longer than most of them do.
    """
    yield
    if request.node.get_closest_marker("vllm"):
        gc.collect()


@pytest.fixture(scope="session")
def demo_models(tmp_path_factory: pytest.TempPathFactory) -> DemoModels:
    """The demo's models with random weights, whose answers are long and varied; made once."""
    return make_untrained_models(tmp_path_factory.mktemp("models"))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def generator(demo_models: DemoModels) -> AsyncIterator[VllmGenerator]:
    """A started generator inside this process."""
    options = VllmOptions(str(demo_models.instruct), dtype="float32")
    async with started(VllmGenerator(options)) as engine:
        yield engine


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def grader(demo_models: DemoModels) -> AsyncIterator[VllmGrader]:
    """A started grader inside this process."""
    async with started(VllmGrader(VllmOptions(str(demo_models.reward), dtype="float32"))) as engine:
        yield engine
