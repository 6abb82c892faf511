"""Free ports of loopback that usually stay free while their server is down.

Ports are not reserved: another process may take a port before the server listens on it.

The range is below the one from which the kernel takes the local ports of outgoing connections. A
port from that range could be taken by any connection while a broker restarts, and a client that
repeatedly tries a closed port of that range can connect to itself.
"""

from __future__ import annotations

import random
import socket
from collections.abc import Collection
from pathlib import Path

from promptmill.runtime.errors import Fatal

LOOPBACK = "127.0.0.1"
PORT_IN_USE = "Address already in use"
"""The text that Java and Redis print when their port is in use."""

_FIRST, _LAST = 20_000, 32_767  # the kernel starts at 32,768 on Linux, at 49,152 on macOS
_EPHEMERAL = Path("/proc/sys/net/ipv4/ip_local_port_range")
_ATTEMPTS = 200


class PortTaken(Fatal):
    """Another process took a server's port before the server listened; another port may work."""

    def __init__(self, server: str) -> None:
        super().__init__(
            f"another process took the port of {server} while it was starting; start it again"
        )


def is_free(port: int) -> bool:
    """Return whether a server could listen on the port now."""
    with socket.socket() as probe:
        # As in the servers, lingering connections of the last owner do not count.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
    return True


def free_port(taken: Collection[int] = ()) -> int:
    """Return a port that is free now and not among ``taken``.

    Another process may take the port before the caller uses it, so the caller must be able to
    retry.
    """
    last = min(_LAST, _first_ephemeral() - 1)
    if last < _FIRST + 1000:  # an unusual kernel setting leaves no room below the range
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
