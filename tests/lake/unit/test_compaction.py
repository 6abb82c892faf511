"""Which files are merged: those of like size, so that a byte is written a few times in its life."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given, settings
from hypothesis import strategies as st

from promptmill.lake.compaction import _File, _grouped

KIB, MIB = 2**10, 2**20
TARGET = 128 * MIB
WRITES = 4
"""How often a byte is written at most, its first time included."""


def file(name: str, size: int, place: int = 0) -> _File:
    """A file of which only the size matters."""
    return _File(name, size, 10, {"shard_offset": (place, place)})


def life(rounds: Sequence[Sequence[int]]) -> tuple[int, int, list[_File]]:
    """Bytes stored, bytes written, and the files left after rounds of flushes of these sizes."""
    files: list[_File] = []
    stored = written = 0
    for number, sizes in enumerate(rounds):
        files += [file(f"{number}-{i}", size, number) for i, size in enumerate(sizes)]
        stored, written = stored + sum(sizes), written + sum(sizes)
        for i, group in enumerate(list(_grouped(files, TARGET))):
            merged = file(f"{number}-merged-{i}", sum(each.size for each in group), number)
            gone = {each.path for each in group}
            files = [each for each in files if each.path not in gone] + [merged]
            written += merged.size
    return stored, written, files


@settings(deadline=None, max_examples=min(30, settings().max_examples))
@given(st.integers(KIB, 4 * MIB), st.integers(1, 400), st.data())
def test_a_byte_is_written_a_few_times_whatever_the_flushes_are(
    size: int, flushes: int, data: st.DataObject
) -> None:
    """Flushes between half and all of a size, that many before each round."""
    rounds = min(300, 600 * MIB // (size * flushes) + 1)
    sizes = data.draw(st.lists(st.integers(size // 2 + 1, size), min_size=1, max_size=20))
    stored, written, files = life([[sizes[i % len(sizes)] for i in range(flushes)]] * rounds)
    assert written <= WRITES * stored
    assert sum(each.size for each in files) == stored
    assert len(files) < 4 * 50 + flushes + stored // (TARGET // 2)


def test_a_large_file_is_not_written_again_for_a_few_small_ones() -> None:
    large = [file(f"large-{n}", 2 * MIB) for n in range(20)]
    small = [file(f"small-{n}", 10 * KIB) for n in range(60)]
    (group,) = _grouped([*large, *small], TARGET)
    assert {each.path for each in group} == {each.path for each in small}


def test_files_of_half_the_target_are_left() -> None:
    assert list(_grouped([file(str(n), TARGET // 2) for n in range(100)], TARGET)) == []


def test_few_files_wait_for_more() -> None:
    assert list(_grouped([file(str(n), 10 * KIB) for n in range(49)], TARGET)) == []
    assert len(*_grouped([file(str(n), 10 * KIB) for n in range(50)], TARGET)) == 50


def test_full_groups_are_cut_at_the_target_in_the_order_of_their_rows() -> None:
    files = [file(str(n), 30 * MIB, place=n) for n in range(9)]
    groups = [[each.path for each in group] for group in _grouped(files[::-1], TARGET)]
    assert groups == [["0", "1", "2", "3"], ["4", "5", "6", "7"]]
