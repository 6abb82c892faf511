"""The patches that put known bugs back apply to the source, and name tests that exist."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from support.chaos.mutation import ROOT, Mutant, PatchOutdated, apply, read_mutants

MUTANTS = read_mutants()


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.patch.stem)
def test_every_patch_still_applies(mutant: Mutant) -> None:
    apply(mutant.patch, ROOT, "--check")


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.patch.stem)
def test_every_test_that_is_to_notice_exists(mutant: Mutant) -> None:
    for test in (*mutant.tests, *mutant.rows):
        file, *names = test.partition("[")[0].split("::")
        text = (ROOT / file).read_text("utf-8")
        assert not [name for name in names if f" {name}(" not in text and f" {name}:" not in text]


def test_names_are_unique() -> None:
    assert len({mutant.name for mutant in MUTANTS}) == len(MUTANTS) > 0


def test_a_patch_whose_place_has_changed_is_refused_with_the_remedy(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "schemas", tmp_path / "schemas")
    (tmp_path / "services").mkdir()
    with pytest.raises(PatchOutdated, match=r"put the bug into the source again"):
        apply(MUTANTS[0].patch, tmp_path, "--check")


def test_a_patch_without_a_test_that_notices_it_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.patch").write_text("Bug: a\n\ndiff --git a/x b/x\n")
    with pytest.raises(ValueError, match="Noticed-by"):
        read_mutants(tmp_path)
