"""A sorted file of ids answers as a set does."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from promptmill.cli.publish import id_file
from promptmill.cli.publish.id_file import IdFile

FEW = st.integers(0, 2**10 - 1).map(lambda number: f"{number * 2**118:032x}")
"""So few that they meet often, with zero bytes at their ends."""

ids = st.lists(st.one_of(FEW, st.binary(min_size=16, max_size=16).map(bytes.hex)), max_size=60)


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Many runs of many blocks, of few ids."""
    monkeypatch.setattr(id_file, "RUN_IDS", 8)
    monkeypatch.setattr(id_file, "BLOCK_IDS", 2)
    monkeypatch.setattr(id_file, "LOOKED_UP_AT_ONCE", 3)


@settings(max_examples=min(60, settings().max_examples), deadline=None)
@given(st.lists(ids, max_size=6), ids)
def test_it_holds_what_it_was_given_and_nothing_else(
    batches: list[list[str]], others: list[str]
) -> None:
    held = {each for batch in batches for each in batch}
    file = IdFile(batches)
    assert len(file) == len(held)
    assert file.among(sorted(held)) == held
    assert file.among(others) == held & set(others)


def test_nothing_is_among_no_ids() -> None:
    assert IdFile([]).among(["ab" * 16]) == set()
    assert IdFile([["ab" * 16]]).among([]) == set()
    assert IdFile([["ab" * 16], []]).among(["00" * 16, "ab" * 16, "ff" * 16]) == {"ab" * 16}
