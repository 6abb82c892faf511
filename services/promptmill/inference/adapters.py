"""LoRA adapters: small changes to a model, in peft's format, that prompts choose by name."""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from promptmill.runtime.errors import Misconfigured

Shapes = dict[str, tuple[int, ...]]

_MATRIX = re.compile(r"(?:base_model\.model\.)?(.+)\.lora_([AB])\.weight")


def check_shapes(name: str, adapter: Path, model: Path) -> None:
    """Compare an adapter with the model that it is to change.

    Args:
        name: of the adapter, for the error.

    Raises:
        Misconfigured: a matrix has another width than the model's, or none of them is the
            model's at all.
    """
    base = {key: shape for file in _weights(model) for key, shape in tensor_shapes(file).items()}
    known = 0
    for module, side, shape in _matrices(adapter / WEIGHTS):
        weight = base.get(f"{module}.weight")
        if weight is None or len(weight) != 2:
            continue  # fused or renamed by vLLM, which looks for it itself
        known += 1
        found, wanted = (shape[1], weight[1]) if side == "A" else (shape[0], weight[0])
        if found != wanted:
            raise Misconfigured(
                f"adapters.{name} is {adapter}: {module}.lora_{side} has width {found}, the "
                f"model's is {wanted}; give an adapter that was trained on {model.name}"
            )
    if base and not known:
        raise Misconfigured(
            f"adapters.{name} is {adapter}: none of its matrices matches a layer of {model.name}; "
            "give an adapter that was trained on this model"
        )


def tensor_shapes(file: Path) -> Shapes:
    """Names and shapes in a safetensors file: its length (8 bytes), then that much JSON."""
    try:
        with file.open("rb") as content:
            (length,) = struct.unpack("<Q", content.read(8))
            header = json.loads(content.read(length))
    except (OSError, ValueError, struct.error) as error:
        raise Misconfigured(
            f"{file} is not a valid safetensors file: {error}; save it again"
        ) from error
    return {key: tuple(v["shape"]) for key, v in header.items() if key != "__metadata__"}


def _weights(model: Path) -> list[Path]:
    return sorted(model.glob("*.safetensors"))


def _matrices(file: Path) -> Iterator[tuple[str, str, tuple[int, ...]]]:
    for key, shape in tensor_shapes(file).items():
        if (found := _MATRIX.fullmatch(key)) and len(shape) == 2:
            yield found[1], found[2], shape


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
