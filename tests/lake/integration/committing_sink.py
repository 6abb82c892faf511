"""A sink in a process of its own: ``python committing_sink.py FOLDER BEGIN END``.

It commits one row at a time, with the garbage collector of a worker, and prints by how many bytes
the memory in use grew from the first number of commits to the second.
"""

from __future__ import annotations

import ctypes
import sys
from pathlib import Path

from promptmill.lake.ports import TableName
from promptmill.runtime.memory import tune_garbage_collection
from support.store import DeltaStore, batch, record


class MallInfo(ctypes.Structure):
    """``struct mallinfo2`` of the GNU C library; ``hblkhd`` and ``uordblks`` are in use."""

    _fields_ = tuple(
        (name, ctypes.c_size_t)
        for name in (
            *("arena", "ordblks", "smblks", "hblks", "hblkhd"),
            *("usmblks", "fsmblks", "uordblks", "fordblks", "keepcost"),
        )
    )


def used_bytes() -> int:
    """The bytes in use of the C library's allocator."""
    mallinfo = ctypes.CDLL(None).mallinfo2
    mallinfo.restype = MallInfo
    now = mallinfo()
    return int(now.uordblks + now.hblkhd)


def growth(folder: Path, begin: int, end: int) -> int:
    """By how many bytes the memory in use grows between these numbers of commits."""
    sink = DeltaStore(folder).sink()
    sink.take_over([0])
    one = record("text")
    tune_garbage_collection()
    before = 0
    for offset in range(end):
        if offset == begin:
            before = used_bytes()
        step = (offset or None, offset + 1)
        sink.commit(TableName.RECORDS, batch([(0, offset, one)], {0: step}))
    return used_bytes() - before


if __name__ == "__main__":
    print(growth(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])))
