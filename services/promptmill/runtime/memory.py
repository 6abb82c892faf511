"""The memory of a process: how it is allocated, when garbage is collected, what is returned."""

from __future__ import annotations

import ctypes
import gc
import sys
from typing import Final

_ARENA_MAX: Final = -8
_MMAP_THRESHOLD: Final = -3
_TRIM_THRESHOLD: Final = -1
"""Numbers of the options in ``malloc.h`` of the GNU C library."""


def limit_fragmentation() -> None:
    """Let the C library return large buffers at once, and use few heaps.

    By default, the first large buffer that is freed raises the size from which blocks are mapped
    separately, up to 32 MiB. Later buffers of Kafka, Arrow and Delta Lake then lie on heaps of
    which each thread can have its own, and holes remain between them: a filter grew for as long as
    backpressure held it now and then. Call this before other threads start, and not in a process
    that computes with torch, whose tensors would be mapped again each time. It does nothing where
    the C library has no ``mallopt``.
    """
    if mallopt := getattr(ctypes.CDLL(None), "mallopt", None):
        mallopt(_ARENA_MAX, 2)
        mallopt(_MMAP_THRESHOLD, 256 * 1024)
        mallopt(_TRIM_THRESHOLD, 4 * 1024 * 1024)


def tune_garbage_collection() -> None:
    """Run the garbage collector rarely, because reference counts free the loop's objects.

    With 10,000 records in flight, the default thresholds traverse all of them repeatedly, which
    was measured to cost 40 % of the throughput.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 50, 100)


def release_unused_memory() -> None:
    """Return freed memory to the system; call it after work that needs much memory for a moment.

    The allocators of Arrow and of the C library keep what was freed for later use. After a
    compaction of 60,000 rows they kept 170 MiB of 430 MiB. It takes tens of milliseconds, and does
    nothing where the C library has no ``malloc_trim``.
    """
    if arrow := sys.modules.get("pyarrow"):
        arrow.default_memory_pool().release_unused()
    if trim := getattr(ctypes.CDLL(None), "malloc_trim", None):
        trim(0)
