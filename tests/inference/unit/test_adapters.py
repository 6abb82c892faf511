"""An adapter that cannot be loaded is refused before the model is."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from promptmill.inference.adapters import check_adapters, highest_rank
from promptmill.runtime.errors import Misconfigured


def adapter(folder: Path, **config: object) -> Path:
    folder.mkdir(parents=True)
    plain = {"peft_type": "LORA", "r": 8, "lora_alpha": 16, "target_modules": ["q_proj"]}
    (folder / "adapter_config.json").write_text(json.dumps(plain | config))
    (folder / "adapter_model.safetensors").write_bytes(b"")
    return folder


def test_folders_become_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    adapter(tmp_path / "legal")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert check_adapters({"law": "~/legal"}) == {"law": str(tmp_path / "legal")}


def test_the_highest_rank_counts_single_matrices_too(tmp_path: Path) -> None:
    low = adapter(tmp_path / "low", r=4)
    high = adapter(tmp_path / "high", r=8, rank_pattern={"q_proj": 24})
    assert highest_rank([str(low)]) == 4
    assert highest_rank([str(low), str(high)]) == 24


def without_config(folder: Path) -> None:
    (adapter(folder) / "adapter_config.json").unlink()


def without_safetensors(folder: Path) -> None:
    weights = adapter(folder) / "adapter_model.safetensors"
    weights.rename(folder / "adapter_model.bin")


def with_broken_config(folder: Path) -> None:
    (adapter(folder) / "adapter_config.json").write_text("{")


def with_a_list_for_config(folder: Path) -> None:
    (adapter(folder) / "adapter_config.json").write_text("[]")


def of_another_kind(folder: Path) -> None:
    adapter(folder, peft_type="IA3")


def without_rank(folder: Path) -> None:
    adapter(folder, r=0)


def missing(folder: Path) -> None:
    """There is no folder."""


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (missing, "the folder does not exist; give the folder"),
        (without_config, r"no adapter_config\.json; give a LoRA adapter"),
        (without_safetensors, r"no adapter_model\.safetensors; save .*safe_serialization"),
        (with_broken_config, "is not valid JSON .*; save the adapter again"),
        (with_a_list_for_config, "is not a JSON object; save the adapter again"),
        (of_another_kind, "peft_type is 'IA3', .*; use an adapter of type LORA"),
        (without_rank, "rank r is 0; correct"),
    ],
)
def test_what_is_no_adapter_is_named_with_its_remedy(
    make: Callable[[Path], None], told: str, tmp_path: Path
) -> None:
    make(tmp_path / "a")
    with pytest.raises(Misconfigured, match=rf"adapters\.law is {tmp_path}/a: .*{told}"):
        check_adapters({"law": str(tmp_path / "a")})
