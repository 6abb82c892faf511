"""A model's revision changes with its content, and with nothing else."""

from __future__ import annotations

import os
from pathlib import Path

from promptmill.inference.vllm.model import EDGE_BYTES, folder_digest


def write_model(folder: Path) -> Path:
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(bytes(3 * EDGE_BYTES))
    return folder


def test_copies_have_the_same_revision_at_any_time(tmp_path: Path) -> None:
    first, second = write_model(tmp_path / "a"), write_model(tmp_path / "b")
    os.utime(second / "config.json", (0, 0))
    assert folder_digest(first) == folder_digest(second)


def test_changed_weights_and_names_change_the_revision(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "a")
    seen = {folder_digest(folder)}
    with (folder / "model.safetensors").open("rb+") as weights:
        weights.seek(-1, os.SEEK_END)
        weights.write(b"x")
    seen.add(folder_digest(folder))
    (folder / "config.json").rename(folder / "other.json")
    seen.add(folder_digest(folder))
    assert len(seen) == 3
