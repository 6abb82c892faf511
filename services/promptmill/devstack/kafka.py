"""Apache Kafka on loopback: one or three brokers in KRaft mode, each a separate process.

Everything is below one folder (the home), so that any process can operate a running cluster:
``KafkaCluster(home, brokers)`` finds the servers by their PID files.
"""

from __future__ import annotations

import base64
import shutil
import time
import uuid
from collections.abc import Collection, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from promptmill.devstack import java
from promptmill.devstack.broker import (
    Broker,
    broker_properties,
    known_nodes,
    log_properties,
    write_properties,
)
from promptmill.devstack.daemon import Daemon, stop_all
from promptmill.devstack.security import ADMIN, StackSecurity, write_private
from promptmill.kafka.client import nodes_of
from promptmill.kafka.security import KafkaSecurity

READY_WITHIN_S = 60.0
STOP_WITHIN_S = 30.0

_HEAP_MB = 512


class KafkaCluster:
    """The brokers of one home, which can be started, stopped and disturbed.

    Args:
        home: absolute path of the folder.
        brokers: all brokers of the cluster, running or not.
        security: the security of a secure cluster; ``None`` for an open one.
    """

    def __init__(
        self, home: Path, brokers: Sequence[Broker], security: StackSecurity | None = None
    ) -> None:
        self.home = home
        self.security = security
        self.brokers = {broker.node: broker for broker in brokers}

    @property
    def bootstrap(self) -> str:
        """Bootstrap servers, ``host:port[,host:port…]``."""
        return ",".join(broker.address for broker in self.brokers.values())

    def running(self) -> tuple[int, ...]:
        """Return the nodes whose process exists, including frozen ones."""
        return tuple(node for node in self.brokers if self.daemon(node).is_running())

    def prepare(self, classpath: Iterable[Path]) -> None:
        """Write every broker's files, and format storage that is not formatted yet."""
        jars = tuple(classpath)
        for broker in self.brokers.values():
            self._write_files(broker, jars)
        unformatted = [n for n in self.brokers if not (self._data(n) / "meta.properties").exists()]
        if unformatted:
            cluster_id = self._cluster_id() or new_cluster_id()
            with ThreadPoolExecutor(len(unformatted)) as pool:
                list(pool.map(lambda node: self._format(node, cluster_id), unformatted))

    def start(self, *nodes: int) -> None:
        """Start the given (or all) brokers that do not run; ``wait_ready`` waits for them."""
        for node in nodes or self.brokers:
            daemon = self.daemon(node)
            if not daemon.is_running():
                options = f"@{self._arguments(node)}"
                command = (str(java.executable()), options, "kafka.Kafka", str(daemon.marker))
                daemon.start(command, java.environment())

    def stop(self, *nodes: int, grace_s: float = STOP_WITHIN_S) -> None:
        """Stop the given (or all) brokers with SIGTERM, and with SIGKILL after the grace period."""
        stop_brokers(self.home, nodes or tuple(self.brokers), grace_s)

    def kill(self, node: int) -> None:
        """Kill one broker with SIGKILL, and wait until it has ended."""
        self.daemon(node).kill()

    def pause(self, node: int) -> None:
        """Freeze one broker."""
        self.daemon(node).pause()

    def resume(self, node: int) -> None:
        """Let a frozen broker continue."""
        self.daemon(node).resume()

    def restart(self, node: int, timeout_s: float = READY_WITHIN_S) -> None:
        """Stop one broker if it runs, start it with the same data and ports, and wait for it."""
        self.stop(node)
        self.start(node)
        self.wait_ready(node, timeout_s=timeout_s)

    def wait_ready(self, *nodes: int, timeout_s: float = READY_WITHIN_S) -> None:
        """Wait until each of the given (or all) brokers answers and knows the others.

        Raises:
            PortTaken: a broker ended because its port is in use.
            Fatal: a broker ended, or did not answer in time; the message ends with its output.
        """
        expected = frozenset(nodes or self.brokers)
        deadline = time.monotonic() + timeout_s
        for node in expected:
            # Only a broker's own answer counts, because the others list a killed broker for a
            # while.
            broker = self.brokers[node]
            ready = partial(_answers, broker, expected, self.security)
            self.daemon(node).wait_ready(ready, broker.address, deadline)

    def daemon(self, node: int) -> Daemon:
        """Return the process of one broker."""
        return broker_daemon(self.home, node)

    def _write_files(self, broker: Broker, classpath: Sequence[Path]) -> None:
        folder = self._folder(broker.node)
        (folder / "tmp").mkdir(parents=True, exist_ok=True)
        self._log(broker.node).parent.mkdir(parents=True, exist_ok=True)
        secure = self.security.broker_properties() if self.security else None
        everyone = tuple(self.brokers.values())
        settings = broker_properties(broker, everyone, self._data(broker.node), secure)
        write_properties(folder / "server.properties", settings)
        write_properties(folder / "log4j2.properties", log_properties(self._log(broker.node)))
        logging = {"log4j2.configurationFile": folder / "log4j2.properties"}
        options = java.options(_HEAP_MB, folder / "tmp", logging)
        java.write_arguments(
            self._arguments(broker.node), [*options, *java.classpath_option(classpath)]
        )

    def _format(self, node: int, cluster_id: str) -> None:
        """Write the node's identity; a half-formatted folder has no data and is redone."""
        shutil.rmtree(self._data(node), ignore_errors=True)
        command = ["kafka.tools.StorageTool", "format"]
        command += ["--cluster-id", cluster_id, "--config", str(self.daemon(node).marker)]
        if self.security:
            command += self.security.format_arguments()
        # The file is needed because everyone on the machine can see the arguments of a process.
        file = self._folder(node) / "format.args"
        write_private(file, java.argument_file(command))
        try:
            java.run(f"@{self._arguments(node)}", f"@{file}", timeout_s=READY_WITHIN_S)
        finally:
            file.unlink(missing_ok=True)

    def _cluster_id(self) -> str | None:
        for node in self.brokers:
            file = self._data(node) / "meta.properties"
            for line in file.read_text("ascii").splitlines() if file.exists() else ():
                if line.startswith("cluster.id="):
                    return line.removeprefix("cluster.id=")
        return None

    def _folder(self, node: int) -> Path:
        return broker_folder(self.home, node)

    def _arguments(self, node: int) -> Path:
        return self._folder(node) / "java.args"

    def _data(self, node: int) -> Path:
        return self._folder(node) / "data"

    def _log(self, node: int) -> Path:
        return broker_log(self.home, node)


def _answers(broker: Broker, expected: frozenset[int], security: StackSecurity | None) -> bool:
    if security is None:
        return expected <= known_nodes(broker.port)
    settings = KafkaSecurity.read(environment=security.client_settings(ADMIN))
    return expected <= nodes_of(broker.address, settings)


def broker_folder(home: Path, node: int) -> Path:
    """Return the folder of one broker's configuration and data."""
    return home / "kafka" / f"broker-{node}"


def broker_log(home: Path, node: int) -> Path:
    """Return the path of one broker's log."""
    return home / "logs" / f"kafka-{node}.log"


def broker_daemon(home: Path, node: int) -> Daemon:
    """Return the process of one broker of any cluster."""
    folder = broker_folder(home, node)
    return Daemon(
        name=f"kafka-{node}",
        marker=folder / "server.properties",
        folder=folder,
        pid_file=home / "run" / f"kafka-{node}.pid",
        output=home / "logs" / f"kafka-{node}.out",
        log=broker_log(home, node),
    )


def stop_brokers(home: Path, nodes: Collection[int], grace_s: float = STOP_WITHIN_S) -> None:
    """Stop the given brokers of any cluster."""
    stop_all([broker_daemon(home, node) for node in nodes], grace_s)


def nodes_on_disk(home: Path) -> tuple[int, ...]:
    """Return the nodes whose folder exists in the home, in order."""
    folders = (home / "kafka").glob("broker-*")
    return tuple(sorted(int(folder.name.removeprefix("broker-")) for folder in folders))


def new_cluster_id() -> str:
    """Return a random UUID in Kafka's form: 22 characters of URL-safe base64, no leading dash."""
    while (text := base64.urlsafe_b64encode(uuid.uuid4().bytes)[:22].decode()).startswith("-"):
        pass
    return text
