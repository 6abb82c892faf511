"""LoRA adapters: small changes to a model, in peft's format, that prompts choose by name."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from promptmill.core.errors import Misconfigured

CONFIG = "adapter_config.json"
WEIGHTS = "adapter_model.safetensors"


def check_adapters(folders: Mapping[str, str]) -> dict[str, str]:
    """The adapters with their absolute folders.

    Raises:
        Misconfigured: a folder is missing, holds no LoRA adapter, or holds weights in a format
            that can run code.
    """
    return {name: str(_check(name, Path(folder))) for name, folder in folders.items()}


def highest_rank(folders: Iterable[str]) -> int:
    """The largest rank of any matrix of these adapters; memory is set aside for it."""
    return max(int(rank) for folder in folders for rank in _ranks(_read_config("", Path(folder))))


def _check(name: str, folder: Path) -> Path:
    folder = folder.expanduser().resolve()
    if not folder.is_dir():
        raise _refusal(
            name, folder, "the folder does not exist", "give the folder that holds the adapter"
        )
    if not (folder / CONFIG).is_file():
        raise _refusal(
            name,
            folder,
            f"it has no {CONFIG}",
            "give a LoRA adapter in the format that peft saves",
        )
    config = _read_config(name, folder)
    if config.get("peft_type", "LORA") != "LORA":
        kind = config["peft_type"]
        raise _refusal(
            name,
            folder,
            f"its peft_type is {kind!r}, which is not supported",
            "use an adapter of type LORA",
        )
    if not all(isinstance(rank, int) and rank > 0 for rank in _ranks(config)):
        raise _refusal(
            name,
            folder,
            f"its rank r is {config.get('r')!r}",
            f"correct {CONFIG}: r must be above 0",
        )
    if not (folder / WEIGHTS).is_file():
        raise _refusal(
            name, folder, f"it has no {WEIGHTS}", "save the adapter with safe_serialization=True"
        )
    return folder


def _ranks(config: Mapping[str, Any]) -> list[Any]:
    return [config.get("r"), *(config.get("rank_pattern") or {}).values()]


def _read_config(name: str, folder: Path) -> dict[str, Any]:
    try:
        config = json.loads((folder / CONFIG).read_bytes())
    except (OSError, ValueError) as error:
        raise _refusal(
            name, folder, f"its {CONFIG} is not valid JSON ({error})", "save the adapter again"
        ) from None
    if not isinstance(config, dict):
        raise _refusal(name, folder, f"its {CONFIG} is not a JSON object", "save the adapter again")
    return config


def _refusal(name: str, folder: Path, found: str, remedy: str) -> Misconfigured:
    return Misconfigured(f"adapters.{name} is {folder}: {found}; {remedy}")
