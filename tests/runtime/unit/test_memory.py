"""Freed memory is returned to the system."""

from __future__ import annotations

import ctypes
import subprocess
import sys

import psutil
import pytest

from promptmill.runtime.memory import release_unused_memory

BLOCK = 16 * 1024
BLOCKS = 8 * 1024


@pytest.mark.skipif(
    not hasattr(ctypes.CDLL(None), "malloc_trim"), reason="the C library has no malloc_trim"
)
def test_memory_that_was_freed_between_used_blocks_is_returned() -> None:
    blocks = [b"x" * BLOCK for _ in range(BLOCKS)]
    kept = blocks[::64]
    del blocks
    before = psutil.Process().memory_info().rss
    release_unused_memory()
    after = psutil.Process().memory_info().rss
    assert before - after > BLOCK * BLOCKS / 2
    assert len(kept) == BLOCKS // 64


MAPPED = """
import ctypes
import sys
from promptmill.runtime.memory import limit_fragmentation

class MallInfo(ctypes.Structure):
    _fields_ = [(name, ctypes.c_size_t) for name in ("arena", "free", "fast", "mapped")]
    _fields_ += [(f"other{n}", ctypes.c_size_t) for n in range(6)]

mallinfo = ctypes.CDLL(None).mallinfo2
mallinfo.restype = MallInfo
if sys.argv[1] == "limited":
    limit_fragmentation()
freed = bytearray(8 << 20)
del freed
before = mallinfo().mapped
buffer = bytearray(1 << 20)
print(mallinfo().mapped - before)
"""
"""Prints 1 if a buffer is mapped separately after a larger one was freed, and 0 otherwise."""


@pytest.mark.skipif(
    not hasattr(ctypes.CDLL(None), "mallinfo2"), reason="the C library has no mallinfo2"
)
@pytest.mark.parametrize(("allocator", "mapped"), [("limited", 1), ("default", 0)])
def test_a_freed_buffer_does_not_move_later_ones_to_the_heap(allocator: str, mapped: int) -> None:
    command = [sys.executable, "-c", MAPPED, allocator]
    done = subprocess.run(command, capture_output=True, check=True)
    assert int(done.stdout) == mapped
