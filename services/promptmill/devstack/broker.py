"""One broker: its configuration, and a check whether it answers.

The reason for each setting that differs from Kafka's default is next to it.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from promptmill.devstack.ports import LOOPBACK
from promptmill.devstack.security import write_private

_METADATA, _VERSION, _CORRELATION, _CLIENT = 3, 1, 1, b"promptmill"
_NO_TOPICS = 0


@dataclass(frozen=True, slots=True)
class Broker:
    """One process of the cluster, broker and controller at once.

    Attributes:
        node: its number, from 1.
        port: the port for clients and the other brokers.
        controller_port: the port for the controllers' quorum.
    """

    node: int
    port: int
    controller_port: int

    @property
    def address(self) -> str:
        """The address for clients, ``host:port``."""
        return f"{LOOPBACK}:{self.port}"


def broker_properties(
    broker: Broker,
    cluster: Sequence[Broker],
    data: Path,
    security: Mapping[str, str] | None = None,
) -> dict[str, str]:
    """Return the ``server.properties`` of one broker of the cluster.

    Args:
        broker: the broker.
        cluster: all brokers.
        data: the folder of its log segments.
        security: the properties of a secure broker, whose clients connect with ``SASL_SSL``.
    """
    protocol = "SASL_SSL" if security else "PLAINTEXT"
    controllers = (f"{b.node}@{LOOPBACK}:{b.controller_port}" for b in cluster)
    return {
        "process.roles": "broker,controller",
        "node.id": str(broker.node),
        "listeners": (
            f"{protocol}://{broker.address},CONTROLLER://{LOOPBACK}:{broker.controller_port}"
        ),
        "controller.listener.names": "CONTROLLER",
        # The voters are fixed. A dynamic quorum keeps the voters' ports in its own log, and could
        # not elect a leader after a restart with other ports.
        "controller.quorum.voters": ",".join(controllers),
        "log.dirs": str(data),
        **_durability(len(cluster)),
        **_LATENCY,
        **_FOOTPRINT,
        **(security or {}),
    }


def _durability(brokers: int) -> dict[str, str]:
    replication = str(min(3, brokers))
    min_isr = "2" if brokers >= 3 else "1"
    return {
        "default.replication.factor": replication,
        "min.insync.replicas": min_isr,
        "offsets.topic.replication.factor": replication,
        "transaction.state.log.replication.factor": replication,
        "transaction.state.log.min.isr": min_isr,
        "share.coordinator.state.topic.replication.factor": replication,
        "share.coordinator.state.topic.min.isr": min_isr,
        "unclean.leader.election.enable": "false",
        # A misspelt topic must be an error, and topics need their own settings.
        "auto.create.topics.enable": "false",
        # Offsets must outlive a long pause in the use of a stack; the default deletes them after a
        # week.
        "offsets.retention.minutes": str(365 * 24 * 60),
    }


_LATENCY = {
    # The default waits 3 s for more members before a group's first assignment.
    "group.initial.rebalance.delay.ms": "0",
    # Chaos tests need short sessions, and slow models need long rebalances.
    "group.min.session.timeout.ms": "1000",
    # After kill -9 the broker cannot register again before its last session ends (default 9 s).
    "broker.session.timeout.ms": "3000",
    "broker.heartbeat.interval.ms": "500",
}

_FOOTPRINT = {
    # Internal topics have 50 partitions by default, each with its files and its memory.
    "offsets.topic.num.partitions": "8",
    "transaction.state.log.num.partitions": "4",
    "share.coordinator.state.topic.num.partitions": "4",
    "num.network.threads": "2",
    "num.io.threads": "4",
    "background.threads": "4",
    # The default allocates 128 MB of heap, for much larger compacted topics.
    "log.cleaner.dedupe.buffer.size": str(16 * 1024 * 1024),
}


def log_properties(log: Path) -> dict[str, str]:
    """Return Log4j's configuration: events to ``log`` (up to 40 MB), errors to the console."""
    return {
        "status": "error",
        "shutdownHook": "disable",  # otherwise the broker's last messages are lost
        **_appender("file", "RollingFile"),
        "appender.file.fileName": str(log),
        "appender.file.filePattern": f"{log}.%i",
        "appender.file.policies.type": "Policies",
        "appender.file.policies.size.type": "SizeBasedTriggeringPolicy",
        "appender.file.policies.size.size": "10MB",
        "appender.file.strategy.type": "DefaultRolloverStrategy",
        "appender.file.strategy.max": "3",
        **_appender("console", "Console"),
        "appender.console.filter.errors.type": "ThresholdFilter",
        "appender.console.filter.errors.level": "error",
        "rootLogger.level": "info",
        "rootLogger.appenderRef.file.ref": "file",
        "rootLogger.appenderRef.console.ref": "console",
    }


def _appender(name: str, kind: str) -> dict[str, str]:
    return {
        f"appender.{name}.type": kind,
        f"appender.{name}.name": name,
        f"appender.{name}.layout.type": "PatternLayout",
        f"appender.{name}.layout.pattern": "%d{ISO8601} %p %m (%c)%n",
    }


def write_properties(file: Path, properties: Mapping[str, str]) -> None:
    """Write a Java properties file, which is Latin-1 with escapes; only its owner can read it."""
    lines = (f"{name}={_escaped(value)}\n" for name, value in properties.items())
    write_private(file, "".join(lines).encode("ascii"))


def _escaped(value: str) -> str:
    units = value.replace("\\", "\\\\").encode("utf-16-be")
    codes = (int.from_bytes(units[i : i + 2], "big") for i in range(0, len(units), 2))
    return "".join(chr(code) if 32 <= code < 127 else f"\\u{code:04x}" for code in codes)


def known_nodes(port: int, timeout_s: float = 5.0) -> frozenset[int]:
    """Return the nodes that the broker on the port lists; none while it does not answer.

    Clients send this request to any broker, and only in an event loop, but a start has to wait
    until *this* broker serves requests. The request is Metadata, version 1
    (https://kafka.apache.org/protocol#The_Messages_Metadata).
    """
    header = struct.pack(">hhih", _METADATA, _VERSION, _CORRELATION, len(_CLIENT)) + _CLIENT
    request = header + struct.pack(">i", _NO_TOPICS)
    try:
        with socket.create_connection((LOOPBACK, port), timeout_s) as connection:
            connection.sendall(struct.pack(">i", len(request)) + request)
            (size,) = struct.unpack(">i", _receive(connection, 4))
            return frozenset(_nodes(_receive(connection, size)))
    except OSError:
        return frozenset()


def _receive(connection: socket.socket, size: int) -> bytes:
    received = bytearray()
    while len(received) < size:
        chunk = connection.recv(size - len(received))
        if not chunk:
            raise ConnectionError("the broker closed the connection")
        received += chunk
    return bytes(received)


def _nodes(response: bytes) -> Iterator[int]:
    """Parse the nodes of ``correlation [node host port rack] …``; lengths of -1 mean null."""
    _, brokers = struct.unpack_from(">ii", response)
    at = 8
    for _ in range(brokers):
        node, host = struct.unpack_from(">ih", response, at)
        at += 6 + host + 4
        (rack,) = struct.unpack_from(">h", response, at)
        at += 2 + max(rack, 0)
        yield node
