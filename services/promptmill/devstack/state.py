"""What is remembered about a home's stack while it is up: its ports; and who may change it.

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
    """The stack's shape; PIDs are in the servers' own files below ``run/``.

    Attributes:
        brokers: all of them, running or not.
        redis_port: on loopback.
        secure: whether the servers ask for a login.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: Literal[1] = 1
    brokers: tuple[Broker, ...] = Field(min_length=1)
    redis_port: int
    secure: bool = False


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
    """A stack of the given number of brokers that has no ports yet (they are 0)."""
    brokers = tuple(Broker(node, port=0, controller_port=0) for node in range(1, size + 1))
    return StackState(brokers=brokers, redis_port=0, secure=secure)


def with_free_ports(
    state: StackState, running_nodes: Collection[int], redis_runs: bool
) -> StackState:
    """The same stack; a port on which a stopped server could not listen is replaced."""
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
