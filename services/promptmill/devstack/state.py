"""The state of a home's stack while it is up, and the lock for changes of the stack.

A stack keeps its ports over restarts, so that clients find restarted servers again.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Literal

from filelock import FileLock, Timeout
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from promptmill.devstack.broker import Broker
from promptmill.devstack.ports import free_port, is_free
from promptmill.runtime.errors import Fatal, Misconfigured

_LOCKED_WITHIN_S = 180.0  # longer than the longest start


class StackState(BaseModel):
    """The servers of a stack with their ports; PIDs are in separate files below ``run/``.

    Attributes:
        brokers: all brokers, running or not.
        redis_port: the port of Redis on loopback.
        secure: whether the servers require a login.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: Literal[1] = 1
    brokers: tuple[Broker, ...] = Field(min_length=1)
    redis_port: int
    secure: bool = False


def state_file(home: Path) -> Path:
    """Return the path of the state file, which exists from ``up`` to ``down``."""
    return home / "stack.json"


def read_state(home: Path) -> StackState | None:
    """Read the state of the stack; ``None`` if no stack was started, or it was stopped.

    Raises:
        Misconfigured: the file is damaged, or another version wrote it.
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
    """Replace the file atomically, so that a reader sees the old or the new state."""
    file = state_file(home)
    draft = file.with_suffix(".tmp")
    with draft.open("w", encoding="utf-8") as out:
        out.write(state.model_dump_json(indent=2) + "\n")
        out.flush()
        os.fsync(out.fileno())
    draft.replace(file)


@contextmanager
def exclusive(home: Path, timeout_s: float = _LOCKED_WITHIN_S) -> Iterator[Path]:
    """Prevent other processes from starting or stopping this home's stack; yield the lock file.

    The holder may delete the file: a process that waits for the lock notices it, and opens the new
    file.

    Raises:
        Fatal: another process held the lock for the whole time.
    """
    home.mkdir(parents=True, exist_ok=True)
    file = home / "stack.lock"
    lock = FileLock(file)
    try:
        lock.acquire(timeout=timeout_s)
    except Timeout as error:
        raise Fatal(
            f"another process has been starting or stopping the stack in {home} for "
            f"{timeout_s:g} s; wait for that process or stop it (lsof {file})"
        ) from error
    try:
        yield file
    finally:
        lock.release()


def first_state(size: int, *, secure: bool = False) -> StackState:
    """Return a stack with this number of brokers, whose ports are not chosen yet (0)."""
    brokers = tuple(Broker(node, port=0, controller_port=0) for node in range(1, size + 1))
    return StackState(brokers=brokers, redis_port=0, secure=secure)


def with_free_ports(
    state: StackState, running_nodes: Collection[int], redis_runs: bool
) -> StackState:
    """Return the stack with new ports for stopped servers whose port is taken."""
    used = {state.redis_port, *(port for b in state.brokers for port in _ports(b).values())}
    brokers = tuple(
        broker if broker.node in running_nodes else _with_free_ports(broker, used)
        for broker in state.brokers
    )
    keep = redis_runs or _can_listen(state.redis_port)
    port = state.redis_port if keep else _new_port(used)
    return state.model_copy(update={"brokers": brokers, "redis_port": port})


def _with_free_ports(broker: Broker, used: set[int]) -> Broker:
    lost = [name for name, port in _ports(broker).items() if not _can_listen(port)]
    return replace(broker, **{name: _new_port(used) for name in lost})


def _ports(broker: Broker) -> dict[str, int]:
    return {"port": broker.port, "controller_port": broker.controller_port}


def _new_port(used: set[int]) -> int:
    port = free_port(used)
    used.add(port)
    return port


def _can_listen(port: int) -> bool:
    return port > 0 and is_free(port)
