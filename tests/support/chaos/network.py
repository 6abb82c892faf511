"""A network of its own for a worker, behind a network link that can be cut."""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from promptmill.devstack.kafka import KafkaCluster
from promptmill.devstack.ports import free_port

MASK = 30
"""Each network link has a private network of two addresses, which no other machine can reach."""


@dataclass(frozen=True, slots=True)
class NetworkLink:
    """A pair of virtual network cards, one of them inside a network namespace.

    Attributes:
        namespace: its name for ``ip netns``.
        card: this machine's end.
        host, guest: addresses of this machine's end and of the other one. They are drawn, so that a
            network link which a killed run has left behind is in nobody's way.
    """

    namespace: str
    card: str
    host: str
    guest: str

    @property
    def inside(self) -> tuple[str, ...]:
        """What a command begins with to run at the other end."""
        return (_ip(), "netns", "exec", self.namespace)

    def cut(self) -> None:
        """Nothing gets through any more; nobody is told."""
        _run("link", "set", self.card, "down")

    def mend(self) -> None:
        """Everything gets through again."""
        _run("link", "set", self.card, "up")


def why_not() -> str:
    """Why this machine cannot do it; empty when it can."""
    if os.name != "posix" or os.geteuid() != 0:
        return "only root can make a network namespace"
    if shutil.which("ip") is None:
        return "there is no ip command (iproute2)"
    probe = f"pm{uuid.uuid4().hex[:8]}"
    made = subprocess.run([_ip(), "netns", "add", probe], capture_output=True, check=False)
    if made.returncode:
        return f"network namespaces cannot be made: {made.stderr.decode().strip()}"
    _run("netns", "del", probe)
    return ""


@contextmanager
def link() -> Iterator[NetworkLink]:
    """A namespace with a network link to it; both are gone afterwards."""
    name = f"pm{uuid.uuid4().hex[:8]}"
    card, other = f"{name}h", f"{name}g"
    network = f"10.213.{secrets.randbelow(256)}.{{}}"
    first = 4 * secrets.randbelow(64)
    made = NetworkLink(name, card, network.format(first + 1), network.format(first + 2))
    _run("netns", "add", name)
    try:
        _run("link", "add", card, "type", "veth", "peer", "name", other)
        _run("link", "set", other, "netns", name)
        _run("addr", "add", f"{made.host}/{MASK}", "dev", card)
        _run("-n", name, "addr", "add", f"{made.guest}/{MASK}", "dev", other)
        for scope in (("link", "set", card), ("-n", name, "link", "set", other)):
            _run(*scope, "up")
        _run("-n", name, "link", "set", "lo", "up")
        yield made
    finally:
        _run("netns", "del", name)


def listen_at_link(wire: NetworkLink, cluster: KafkaCluster) -> str:
    """Make the only broker listen at this machine's end too; the address for the other end.

    Clients that connect there are told that address for everything else; all others are told
    the loopback address, as before.
    """
    ((node, broker),) = cluster.brokers.items()
    there = f"{wire.host}:{free_port({broker.port, broker.controller_port})}"
    file = cluster.daemon(node).marker
    settings = dict(line.split("=", 1) for line in file.read_text("ascii").splitlines())
    settings["listeners"] += f",LINK://{there}"
    settings["advertised.listeners"] = f"PLAINTEXT://{broker.address},LINK://{there}"
    protocols = (f"{name}:PLAINTEXT" for name in ("PLAINTEXT", "LINK", "CONTROLLER"))
    settings["listener.security.protocol.map"] = ",".join(protocols)
    settings["inter.broker.listener.name"] = "PLAINTEXT"
    file.write_text("".join(f"{name}={value}\n" for name, value in settings.items()), "ascii")
    cluster.restart(node)
    return there


def _run(*arguments: str) -> None:
    subprocess.run([_ip(), *arguments], check=True, capture_output=True)


def _ip() -> str:
    return shutil.which("ip") or "ip"
