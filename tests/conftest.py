"""Fixtures for tests on real servers; a test that names none of them starts nothing."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest
import structlog
from hypothesis import HealthCheck, settings

from promptmill.devstack.stack import StackInfo
from support.stack import flush, running_stack, unique_name

ANY_SPEED = [HealthCheck.too_slow]
"""A busy machine is no fault of a strategy."""

settings.register_profile("whole", suppress_health_check=ANY_SPEED)
settings.register_profile("fast", max_examples=15, suppress_health_check=ANY_SPEED)
settings.load_profile("whole")


def pytest_addoption(parser: pytest.Parser) -> None:
    """``--times 50`` repeats each chosen test, to find a race."""
    parser.addoption("--times", type=int, default=1, help="run each chosen test so often")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """One more parameter, which no test looks at."""
    times: int = metafunc.config.getoption("--times")
    if times > 1:
        metafunc.fixturenames.append("repetition")
        metafunc.parametrize("repetition", range(times))


def pytest_configure() -> None:
    """Let tests that run in the background interrupt what they start.

    Jobs in the background of a shell without job control ignore SIGINT, and so do their children.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StackInfo]:
    """One broker and one Redis, shared by all tests of the session."""
    with running_stack(tmp_path_factory.mktemp("stack")) as info:
        yield info


@pytest.fixture(scope="session")
def kafka(stack: StackInfo) -> str:
    """Bootstrap servers; topics and groups stay, so use ``unique`` names."""
    return stack.kafka


@pytest.fixture
def redis_url(stack: StackInfo) -> str:
    """The URL of an empty Redis."""
    flush(stack.redis)
    return stack.redis


@pytest.fixture
def unique() -> str:
    """A name for this test's topic, group or run; ``unique_name`` gives more of them."""
    return unique_name()


@pytest.fixture(autouse=True)
def unchanged_logs() -> Iterator[None]:
    """Restore the configuration of the logs, which commands and services change."""
    before = structlog.get_config()
    yield
    structlog.configure(**before)
