"""Checks of what the local stack needs on this machine, with remedies."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from promptmill.devstack import java
from promptmill.devstack.jars import cache_dir, kafka_version, locked_jars, missing_jars
from promptmill.devstack.redis import find_binary
from promptmill.runtime.errors import PromptmillError

_FREE_BYTES = 2 * 10**9  # enough for the logs of a day and their compaction
_INSTALL = "pip install 'promptmill[local]'"


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of one check.

    Attributes:
        ok: whether the local stack can start, according to this check.
        detail: what was found.
        remedy: what to do; empty if there is nothing to do.
    """

    name: str
    ok: bool
    detail: str
    remedy: str = ""


def check_local_stack(home: Path) -> list[Finding]:
    """Check everything that ``up`` needs, without downloading or changing anything."""
    home = home.expanduser().resolve()
    return [
        _tried("Java runtime", _java, _INSTALL),
        _tried("Kafka jars", _jars, _INSTALL),
        _tried("Redis server", _redis, f"install redis-server 6.2 or later, or: {_INSTALL}"),
        _writable(home),
        _space(home),
    ]


def _tried(name: str, check: Callable[[], Finding], remedy: str) -> Finding:
    try:
        return check()
    except PromptmillError as error:
        return Finding(name, False, str(error), remedy)


def _java() -> Finding:
    said = java.run("-version", timeout_s=30)
    return Finding("Java runtime", True, f"{said.splitlines()[0]} ({java.executable()})")


def _jars() -> Finding:
    jars, directory = locked_jars(), cache_dir()
    absent = missing_jars(directory, jars)
    if not absent:
        detail = f"Apache Kafka {kafka_version(jars)}, {len(jars)} jars verified in {directory}"
        return Finding("Kafka jars", True, detail)
    megabytes = sum(jar.size for jar in absent) / 1e6
    detail = f"{len(absent)} of {len(jars)} jars ({megabytes:.0f} MB) are not in {directory}"
    remedy = (
        "the first 'promptmill up' downloads them; without a network, copy that folder from "
        "another machine"
    )
    return Finding("Kafka jars", True, detail, remedy)


def _redis() -> Finding:
    binary = find_binary()
    return Finding("Redis server", True, f"{binary.said} ({binary.path})")


def _writable(home: Path) -> Finding:
    folder = _existing(home)
    if os.access(folder, os.W_OK | os.X_OK) and (folder == home or not home.exists()):
        return Finding("home folder", True, str(home))
    remedy = "set PROMPTMILL_HOME to a writable folder"
    return Finding("home folder", False, f"{home} is not a writable folder", remedy)


def _space(home: Path) -> Finding:
    free = shutil.disk_usage(_existing(home)).free
    detail = f"{free / 1e9:.1f} GB free for {home}"
    if free >= _FREE_BYTES:
        return Finding("free disk space", True, detail)
    remedy = f"free at least {_FREE_BYTES / 1e9:.0f} GB, or move PROMPTMILL_HOME"
    return Finding("free disk space", False, detail, remedy)


def _existing(folder: Path) -> Path:
    """Return the folder, or its nearest existing parent."""
    return next(path for path in (folder, *folder.parents) if path.is_dir())
