"""Free ports of loopback that stay free while their server is down.

Nothing reserves a port: a server may lose its port to another process before it listens on it.

The range lies below the one from which the kernel takes the local ports of outgoing
connections. A port from that range could be taken by any connection while a broker restarts,
and a client that keeps trying a dead port of that range can end up connected to itself.
"""

from __future__ import annotations

import random
import socket
from collections.abc import Collection
from pathlib import Path

from promptmill.runtime.errors import Fatal

LOOPBACK = "127.0.0.1"
PORT_IN_USE = "Address already in use"
"""What Java and Redis print when they cannot listen."""

_FIRST, _LAST = 20_000, 32_767  # the kernel starts at 32,768 on Linux, at 49,152 on macOS
_EPHEMERAL = Path("/proc/sys/net/ipv4/ip_local_port_range")
_ATTEMPTS = 200


class PortTaken(Fatal):
    """Another process took a server's port before the server listened; another port may do."""

    def __init__(self, server: str) -> None:
        super().__init__(
            f"another process took the port of {server} while it was starting; start it again"
        )


def is_free(port: int) -> bool:
    """Whether a server could listen on the port now."""
    with socket.socket() as probe:
        # As the servers do: connections of the last owner that linger do not count.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
    return True


def free_port(taken: Collection[int] = ()) -> int:
    """A port that is free now and not among ``taken``.

    The caller must be ready to lose it to another process and to try again.
    """
    last = min(_LAST, _first_ephemeral() - 1)
    if last < _FIRST + 1000:  # an unusual kernel setting leaves no room below
        return _any_free_port()
    for _ in range(_ATTEMPTS):
        port = random.randint(_FIRST, last)  # noqa: S311 - not a secret
        if port not in taken and is_free(port):
            return port
    raise Fatal(f"there is no free port between {_FIRST} and {last}; stop some servers")


def _first_ephemeral() -> int:
    try:
        return int(_EPHEMERAL.read_text("ascii").split()[0])
    except OSError:
        return _LAST + 1


def _any_free_port() -> int:
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        port: int = probe.getsockname()[1]
    return port
