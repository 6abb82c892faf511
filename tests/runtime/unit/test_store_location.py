"""One spelling for each place where a store can be."""

from __future__ import annotations

from pathlib import Path

import pytest

from promptmill.runtime.settings import store_location


@pytest.mark.parametrize(
    "spelling",
    ["s3://bucket/store", "s3://bucket/store/", "s3a://bucket//store", "S3://bucket/store"],
)
def test_spellings_of_a_uri_are_one_place(spelling: str, tmp_path: Path) -> None:
    assert store_location(spelling, tmp_path) == "s3://bucket/store"


@pytest.mark.parametrize("spelling", ["{}/store", "{}/store/", "{}/./store", "file://{}/store/"])
def test_spellings_of_a_path_are_one_place(spelling: str, tmp_path: Path) -> None:
    assert store_location(spelling.format(tmp_path), tmp_path) == str(tmp_path / "store")


def test_a_relative_path_is_made_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert store_location("data/../store", tmp_path) == str(tmp_path / "store")


@pytest.mark.parametrize("unset", [None, ""])
def test_an_unset_store_is_below_home(unset: str | None, tmp_path: Path) -> None:
    assert store_location(unset, tmp_path) == str(tmp_path / "store")
