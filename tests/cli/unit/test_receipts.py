"""Receipts in files that are no files, and on disks that are full."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import orjson
import pytest

from promptmill.cli.publish.ports import LineResult
from promptmill.cli.publish.receipts import Receipts
from promptmill.runtime.errors import Unavailable

FULL = Path("/dev/full")
LINES = 10_000
"""More than the file's buffer holds."""

needs_full_disk = pytest.mark.skipif(not FULL.exists(), reason="only Linux has /dev/full")


def result(number: int) -> LineResult:
    return LineResult(number, "published", "0" * 32)


def write_many(receipts: Receipts) -> None:
    for number in range(LINES):
        receipts.write(result(number))


@needs_full_disk
def test_a_full_disk_ends_with_a_remedy_and_later_receipts_are_left_out() -> None:
    with Receipts(FULL) as receipts:
        with pytest.raises(Unavailable, match=r"cannot write receipts.*No space.*free some space"):
            write_many(receipts)
        receipts.write(result(LINES))  # as when what is in flight is reported at the end


@needs_full_disk
def test_a_disk_that_is_full_at_the_end_is_told() -> None:
    with pytest.raises(Unavailable, match="cannot write receipts"), Receipts(FULL) as receipts:
        receipts.write(result(1))


def test_receipts_can_go_into_a_pipe(tmp_path: Path) -> None:
    pipe, found = tmp_path / "pipe", list[bytes]()
    os.mkfifo(pipe)
    reading = threading.Thread(target=lambda: found.append(pipe.read_bytes()))
    reading.start()
    with Receipts(pipe) as receipts:
        receipts.write(result(1))
    reading.join()
    assert orjson.loads(found[0]) == {"line": 1, "prompt_id": "0" * 32}
