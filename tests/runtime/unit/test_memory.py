"""Freed memory is returned to the system."""

from __future__ import annotations

import ctypes

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
