"""An exact set of ids in a sorted file, whose memory does not grow with their number.

Ids arrive in any order. They are sorted in runs of 131,072, and the runs are merged part by part.
Only every 128th id stays in memory. Therefore 10 million ids take about 1 MiB of memory, and 160 MB
in an unnamed file in ``TMPDIR``, which the system removes with the process.
"""

from __future__ import annotations

import os
import tempfile
import weakref
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import IO, Final

import numpy as np

from promptmill.lake.keys import KEY_BYTES, NONE, Keys, are_among, keys_of_texts, union

RUN_IDS: Final = 131_072
BLOCK_IDS: Final = 128
LOOKED_UP_AT_ONCE: Final = 4_096
LOWEST, BEYOND = b"", None


@dataclass(frozen=True, slots=True)
class _Run:
    """A run of sorted, distinct ids in a file.

    Attributes:
        start: the place of the first id, counted in ids from the beginning of the file.
        index: every 128th id, beginning with the first.
    """

    file: IO[bytes]
    start: int
    size: int
    index: Keys

    def read(self, begin: int, end: int) -> Keys:
        """Return the ids at these places of the run."""
        end = min(end, self.size)
        octets = os.pread(
            self.file.fileno(), max(0, end - begin) * KEY_BYTES, (self.start + begin) * KEY_BYTES
        )
        return np.frombuffer(octets, NONE.dtype)

    def between(self, low: bytes, high: bytes | None) -> Keys:
        """Return the ids from ``low`` to below ``high``; ``None`` means without an upper limit."""
        begin = max(0, int(np.searchsorted(self.index, np.bytes_(low), "right")) - 1)
        end = len(self.index)
        if high is not None:
            end = int(np.searchsorted(self.index, np.bytes_(high), "left"))
        found = self.read(begin * BLOCK_IDS, end * BLOCK_IDS)
        first = int(np.searchsorted(found, np.bytes_(low), "left"))
        last = None if high is None else int(np.searchsorted(found, np.bytes_(high), "left"))
        return found[first:last]

    def contains(self, wanted: Keys) -> Iterator[bool]:
        """Yield for each of these sorted ids whether the run holds it; read each block once."""
        blocks = np.unique(np.maximum(0, np.searchsorted(self.index, wanted, "right") - 1))
        parts = [self.read(b * BLOCK_IDS, (b + 1) * BLOCK_IDS) for b in blocks.tolist()]
        # Consecutive blocks are sorted as a whole, so one search finds all ids.
        return iter(are_among(wanted, np.concatenate([NONE, *parts])).tolist())


class _Writer:
    """A writer of one run, block by block or at once."""

    def __init__(self, file: IO[bytes], start: int) -> None:
        self._file = file
        self._start = start
        self._size = 0
        self._index: list[Keys] = []

    def write(self, keys: Keys) -> None:
        """Append ids that are greater than all others of the run."""
        first = -self._size % BLOCK_IDS
        self._index.append(keys[first::BLOCK_IDS].copy())
        self._file.write(keys.tobytes())
        self._size += len(keys)

    def run(self) -> _Run:
        """Return the run that was written."""
        self._file.flush()
        return _Run(self._file, self._start, self._size, np.concatenate([NONE, *self._index]))


class IdFile:
    """An immutable set of ids (32 hexadecimal digits).

    Args:
        batches: the ids in any order; some may occur twice.
    """

    def __init__(self, batches: Iterable[Sequence[str]]) -> None:
        with tempfile.TemporaryFile() as unmerged:
            runs = _sorted_runs(batches, unmerged)
            file = tempfile.TemporaryFile()  # noqa: SIM115 - it lives as long as this set
            weakref.finalize(self, file.close)
            writer = _Writer(file, 0)
            for part in _merged(runs):
                writer.write(part)
            self._run = writer.run()

    def __len__(self) -> int:
        return self._run.size

    def among(self, ids: Sequence[str]) -> set[str]:
        """Return the given ids that are in the set; this takes 2 to 10 µs per id."""
        ordered = sorted(ids)
        found: set[str] = set()
        for at in range(0, len(ordered), LOOKED_UP_AT_ONCE):
            some = ordered[at : at + LOOKED_UP_AT_ONCE]
            held = self._run.contains(keys_of_texts(some))
            found.update(each for each, is_held in zip(some, held, strict=True) if is_held)
        return found


def _sorted_runs(batches: Iterable[Sequence[str]], file: IO[bytes]) -> list[_Run]:
    runs: list[_Run] = []
    for keys in _collected(batches):
        writer = _Writer(file, runs[-1].start + runs[-1].size if runs else 0)
        writer.write(union(keys))
        runs.append(writer.run())
    return runs


def _collected(batches: Iterable[Sequence[str]]) -> Iterator[Keys]:
    """Combine small batches of ids into larger ones."""
    waiting, size = [NONE], 0
    for batch in batches:
        waiting.append(keys_of_texts(batch))
        size += len(batch)
        if size >= RUN_IDS:
            yield np.concatenate(waiting)
            waiting, size = [NONE], 0
    if size:
        yield np.concatenate(waiting)


def _merged(runs: Sequence[_Run]) -> Iterator[Keys]:
    """Yield the union of all runs in parts of about one run's size."""
    sample = np.sort(np.concatenate([NONE, *(run.index for run in runs)]))
    bounds = [LOWEST, *sample[:: RUN_IDS // BLOCK_IDS].tolist()[1:], BEYOND]
    for low, high in pairwise(bounds):
        yield union(*(run.between(low, high) for run in runs))
