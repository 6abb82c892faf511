"""Commits leave no memory behind, however rarely a worker's garbage collector runs by itself."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
from pathlib import Path

import pytest

from promptmill.lake.sink import COLLECT_EVERY

pytestmark = pytest.mark.real

SCRIPT = Path(__file__).with_name("committing_sink.py")

WARM_UP = 20
"""Commits before the first measurement."""

KEPT_BYTES = 8192
"""What a commit may keep, half of what the library leaves."""


@pytest.mark.skipif(
    not hasattr(ctypes.CDLL(None), "mallinfo2"), reason="the C library has no mallinfo2"
)
def test_the_memory_in_use_does_not_grow_with_commits(tmp_path: Path) -> None:
    begin, end = WARM_UP, WARM_UP + COLLECT_EVERY
    done = subprocess.run(
        [sys.executable, str(SCRIPT), str(tmp_path), str(begin), str(end)],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        stdout=subprocess.PIPE,
        timeout=300,
        check=True,
    )
    assert int(done.stdout) < KEPT_BYTES * (end - begin)
