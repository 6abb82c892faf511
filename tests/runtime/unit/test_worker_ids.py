"""Workers in containers of one host can have the same host name and the same process id."""

from __future__ import annotations

import subprocess
import sys

from promptmill.runtime.telemetry.registry import worker_id

IN_A_CONTAINER = """
import os, socket
os.getpid, socket.gethostname = lambda: 1, lambda: "node"
from promptmill.runtime.telemetry.registry import worker_id
print(worker_id("reward"))
"""


def test_two_containers_of_one_host_have_different_ids() -> None:
    command = [sys.executable, "-c", IN_A_CONTAINER]
    ids = [subprocess.run(command, capture_output=True, check=True).stdout for _ in range(2)]
    assert ids[0] != ids[1]
    for each in ids:
        assert each.startswith(b"reward-node-")
        assert each.rstrip().endswith(b"-1")


def test_all_parts_of_a_worker_have_the_same_id() -> None:
    assert worker_id("reward") == worker_id("reward")
