"""What is remembered about a home's stack while it is up: its ports; and who may change it."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from promptmill.devstack.properties import Broker
from promptmill.runtime.errors import Fatal, Misconfigured

_POLL_S = 0.1
_LOCKED_WITHIN_S = 180.0  # longer than the longest start


class StackState(BaseModel):
    """The stack's shape; PIDs are in the servers' own files below ``run/``.

    Attributes:
        brokers: all of them, running or not.
        redis_port: on loopback.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: Literal[1] = 1
    brokers: tuple[Broker, ...] = Field(min_length=1)
    redis_port: int


def state_file(home: Path) -> Path:
    """Exists from ``up`` to ``down``, also after a crash."""
    return home / "stack.json"


def read_state(home: Path) -> StackState | None:
    """The stack's shape; ``None`` if no stack was started, or it was stopped.

    Raises:
        Misconfigured: the file is damaged, or of another version.
    """
    file = state_file(home)
    try:
        return StackState.model_validate_json(file.read_bytes())
    except FileNotFoundError:
        return None
    except ValidationError as error:
        raise Misconfigured(
            f"{file} is damaged or was written by another version of promptmill; "
            "stop the stack with 'promptmill down' (its data is kept) and start it again"
        ) from error


def write_state(home: Path, state: StackState) -> None:
    """Replaces the file in one step: a reader sees the old state or the new one."""
    file = state_file(home)
    draft = file.with_suffix(".tmp")
    with draft.open("w", encoding="utf-8") as out:
        out.write(state.model_dump_json(indent=2) + "\n")
        out.flush()
        os.fsync(out.fileno())
    draft.replace(file)


@contextmanager
def exclusive(home: Path, timeout_s: float = _LOCKED_WITHIN_S) -> Iterator[Path]:
    """Keeps other processes from starting or stopping this home's stack; gives the lock's file.

    The holder may delete the file: whoever waited for it notices, and opens the new one.

    Raises:
        Fatal: another process held it all the time.
    """
    home.mkdir(parents=True, exist_ok=True)
    file = home / "stack.lock"
    deadline = time.monotonic() + timeout_s
    while (descriptor := _try_lock(file)) is None:
        if time.monotonic() > deadline:
            raise Fatal(
                f"another process has been starting or stopping the stack in {home} for "
                f"{timeout_s:g} s; wait for that process or stop it (lsof {file})"
            )
        time.sleep(_POLL_S)
    try:
        yield file
    finally:
        os.close(descriptor)


def _try_lock(file: Path) -> int | None:
    descriptor = os.open(file, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.path.samestat(os.fstat(descriptor), file.stat()):
            return descriptor
    except (BlockingIOError, FileNotFoundError):
        pass
    os.close(descriptor)
    return None
