"""Why a server did not start, where the stack can do something about it."""

from __future__ import annotations

from promptmill.runtime.errors import Fatal

PORT_IN_USE = "Address already in use"  # in the words of Java and of Redis


class PortTaken(Fatal):
    """Another process took the port between its choice and its use; another one may do."""

    def __init__(self, server: str) -> None:
        super().__init__(
            f"another process took the port of {server} while it was starting; start it again"
        )
