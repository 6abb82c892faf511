"""The local stack of one home: Kafka and Redis, started, found and stopped together."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from promptmill.devstack.daemon import stop_all
from promptmill.devstack.jars import OnProgress, ignore, resolve_jars
from promptmill.devstack.kafka import STOP_WITHIN_S, broker_daemon, nodes_on_disk, stop_brokers
from promptmill.devstack.ports import PortTaken
from promptmill.devstack.redis import STOP_WITHIN_S as REDIS_STOP_WITHIN_S
from promptmill.devstack.redis import find_binary, redis_daemon
from promptmill.devstack.servers import Servers, StackInfo
from promptmill.devstack.state import (
    StackState,
    exclusive,
    first_state,
    read_state,
    state_file,
    with_free_ports,
    write_state,
)
from promptmill.runtime.errors import Fatal, Misconfigured

__all__ = ["SIZES", "Servers", "StackInfo", "Stopped", "attach", "down", "find", "up"]

SIZES = (1, 3)

_PORT_ATTEMPTS = 3
_TRACES = ("stack.json", "stack.lock", "run", "kafka", "redis", "secure")
_FORBIDDEN = ",%$\n"  # Kafka separates folders by commas, and Log4j expands the other characters


@dataclass(frozen=True, slots=True)
class Stopped:
    """The result of ``down``.

    Attributes:
        servers: the names of the servers that ran.
        purged: whether their data and logs were deleted.
    """

    servers: tuple[str, ...]
    purged: bool


def up(
    home: Path,
    brokers: int | None = None,
    on_progress: OnProgress = ignore,
    *,
    secure: bool = False,
) -> StackInfo:
    """Start the servers of the home's stack that do not run, and wait until all servers answer.

    Args:
        home: the folder for data, logs and PID files; created if it does not exist.
        brokers: 1 or 3; ``None`` means the number of an existing stack, or 1.
        on_progress: called with the progress of downloads and starts.
        secure: whether a new stack encrypts and requires a login; an existing stack does not
            change.

    Raises:
        Misconfigured: a package or a jar is missing, the home cannot be used, or its stack has
            another number of brokers, or is open and should be secure.
        Fatal: a server does not start. The servers that this call started are stopped again.
    """
    home = _checked(home)
    with _explained(home), exclusive(home):
        state = read_state(home)
        size = _agreed_size(home, state, brokers)
        secure = _agreed_security(home, state, wanted=secure)
        if state and _answers(servers := Servers(home, state)):
            return servers.info()
        if state is None:
            _stop_everything(home)  # servers of a stack whose state was lost
        return _start(home, state or first_state(size, secure=secure), on_progress)


def down(home: Path, *, purge: bool = False) -> Stopped:
    """Stop the home's stack, without leaving processes, PID files or a state behind.

    Args:
        home: the folder given to ``up``, which does not have to exist.
        purge: also delete the data and logs of the servers, but nothing else in the home.
    """
    home = home.expanduser().resolve()
    if not any((home / trace).exists() for trace in _TRACES):
        return Stopped((), purge)
    with _explained(home), exclusive(home) as lock:
        running = _stop_everything(home, in_haste=purge)
        state_file(home).unlink(missing_ok=True)
        if (home / "run").is_dir():
            shutil.rmtree(home / "run")
        if purge:
            _delete_data(home)
        lock.unlink()
    with suppress(OSError):  # not empty, because it contains other files
        home.rmdir()
    return Stopped(running, purge)


def find(home: Path) -> StackInfo | None:
    """Return the home's stack if any of its servers runs; they may not answer.

    Raises:
        Misconfigured: the state file is damaged.
    """
    home = home.expanduser().resolve()
    state = read_state(home)
    if state is None:
        return None
    info = Servers(home, state).info()
    return info if len(info.missing) <= len(state.brokers) else None


def attach(home: Path) -> Servers | None:
    """Return the servers of the home's stack, to stop or disturb them; ``None`` if not up."""
    home = home.expanduser().resolve()
    state = read_state(home)
    return Servers(home, state) if state else None


def _answers(servers: Servers) -> bool:
    """Return whether all servers run and answer; restore lost PID files.

    Raises:
        Fatal: a server runs and does not answer.
    """
    for daemon in servers.daemons():
        daemon.adopt()
    if servers.missing():
        return False
    try:
        servers.wait_ready(ignore)
    except Fatal:
        if servers.missing():  # it ended just after the check
            return False
        raise
    return True


def _start(home: Path, state: StackState, on_progress: OnProgress) -> StackInfo:
    binary = find_binary()
    classpath = resolve_jars(on_progress=on_progress)
    for attempt in range(1, _PORT_ATTEMPTS + 1):
        state = _with_free_ports(home, state)
        servers = Servers(home, state)
        try:
            with _undone_on_failure(servers):
                write_state(home, state)
                if servers.security:
                    servers.security.prepare()
                servers.redis.start(binary)
                servers.kafka.prepare(classpath)
                servers.kafka.start()
                servers.wait_ready(on_progress)
            break
        except PortTaken:
            if attempt == _PORT_ATTEMPTS:
                raise
    return servers.info()


def _with_free_ports(home: Path, state: StackState) -> StackState:
    servers = Servers(home, state)
    running = servers.kafka.running()
    result = with_free_ports(state, running, servers.redis.is_running())
    if result.brokers != state.brokers:
        servers.kafka.stop(*running)  # they know the other brokers by their old addresses
    return result


@contextmanager
def _undone_on_failure(servers: Servers) -> Iterator[None]:
    """Stop the servers that were started in the block after an error or Ctrl-C."""
    before = {daemon.name for daemon in servers.daemons() if daemon.is_running()}
    is_first_start = not state_file(servers.home).exists()
    try:
        yield
    except BaseException:
        stop_all([d for d in servers.daemons() if d.name not in before], STOP_WITHIN_S)
        if is_first_start:
            state_file(servers.home).unlink(missing_ok=True)
        raise


@contextmanager
def _explained(home: Path) -> Iterator[None]:
    """Convert errors of the file system to errors with a remedy."""
    try:
        yield
    except OSError as error:
        raise Misconfigured(
            f"cannot use the home folder {home}: {error}; free disk space, or set PROMPTMILL_HOME "
            "to a writable folder"
        ) from error


def _checked(home: Path) -> Path:
    home = home.expanduser().resolve()
    if bad := sorted(set(_FORBIDDEN) & set(str(home))):
        raise Misconfigured(
            f"home {str(home)!r} has {', '.join(map(repr, bad))} in its path, which Kafka's "
            "configuration cannot express; set PROMPTMILL_HOME to another folder"
        )
    return home


def _agreed_size(home: Path, state: StackState | None, wanted: int | None) -> int:
    if wanted is not None and wanted not in SIZES:
        raise Misconfigured(f"brokers is {wanted}; the local stack runs 1 or 3")
    found = len(state.brokers) if state else len(nodes_on_disk(home))
    if wanted and found and wanted != found:
        raise Misconfigured(
            f"{home} has a stack of {found} broker(s), but {wanted} were requested; use --brokers "
            f"{found}, another PROMPTMILL_HOME, or discard the data with 'promptmill down --purge'"
        )
    return wanted or found or 1


def _agreed_security(home: Path, state: StackState | None, *, wanted: bool) -> bool:
    """Return whether the stack is secure; users can be added only to new brokers."""
    exists = state is not None or bool(nodes_on_disk(home))
    found = state.secure if state else (home / "secure").is_dir()
    if exists and wanted and not found:
        raise Misconfigured(
            f"{home} has an open stack, and users are created together with a stack: use another "
            "PROMPTMILL_HOME, or discard the data with 'promptmill down --purge'"
        )
    return found if exists else wanted


def _stop_everything(home: Path, *, in_haste: bool = False) -> tuple[str, ...]:
    """Stop every server of the home, with or without a state or PID file; return their names.

    In haste, they are killed, because their data will be deleted, and three brokers that stop
    together wait 5 s for a quorum.
    """
    nodes = nodes_on_disk(home)
    redis, brokers = redis_daemon(home), [broker_daemon(home, node) for node in nodes]
    for daemon in (redis, *brokers):
        daemon.adopt()
    running = tuple(daemon.name for daemon in (redis, *brokers) if daemon.is_running())
    stop_brokers(home, nodes, 0 if in_haste else STOP_WITHIN_S)
    stop_all([redis], 0 if in_haste else REDIS_STOP_WITHIN_S)
    return running


def _delete_data(home: Path) -> None:
    for folder in (home / "kafka", home / "redis", home / "secure"):
        if folder.is_dir():
            shutil.rmtree(folder)
    for pattern in ("kafka-*", "redis.log*"):
        for log in (home / "logs").glob(pattern):
            log.unlink()
    with suppress(OSError):  # the folder has other logs, or does not exist
        (home / "logs").rmdir()
