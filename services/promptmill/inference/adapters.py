"""Checks of LoRA adapters in peft's format, which prompts select by name."""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from promptmill.runtime.errors import Misconfigured

CONFIG = "adapter_config.json"
WEIGHTS = "adapter_model.safetensors"

Shapes = dict[str, tuple[int, ...]]

_MATRIX = re.compile(r"(?:base_model\.model\.)?(.+)\.lora_([AB])\.weight")


def check_adapters(folders: Mapping[str, str]) -> dict[str, str]:
    """Check the folder of each adapter, and return the absolute paths by name.

    Raises:
        Misconfigured: a folder does not exist, or does not hold a LoRA adapter with weights in
            the safetensors format (other formats can run code).
    """
    return {name: str(_check(name, Path(folder))) for name, folder in folders.items()}


def highest_rank(folders: Iterable[str]) -> int:
    """The highest rank of any matrix of these adapters; vLLM reserves memory for it."""
    return max(int(rank) for folder in folders for rank in _ranks(_read_config("", Path(folder))))


def check_shapes(name: str, adapter: Path, model: Path) -> None:
    """Check that an adapter's matrices fit the model.

    Args:
        name: the adapter's name, for error messages.
        adapter: folder of the adapter.
        model: folder of the model.

    Raises:
        Misconfigured: the width of a matrix differs from the model's, or none of the matrices
            belongs to a layer of the model.
    """
    base = {key: shape for file in _weights(model) for key, shape in tensor_shapes(file).items()}
    known = 0
    for module, side, shape in _matrices(adapter / WEIGHTS):
        weight = base.get(f"{module}.weight")
        if weight is None or len(weight) != 2:
            continue  # vLLM fuses or renames this layer, and finds the matrix by its own rules
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
    """The shapes of the tensors in a safetensors file, by name.

    The file begins with the length of its JSON header, in 8 bytes.

    Raises:
        Misconfigured: the file is not a valid safetensors file.
    """
    try:
        with file.open("rb") as content:
            (length,) = struct.unpack("<Q", content.read(8))
            header = json.loads(content.read(length))
    except (OSError, ValueError, struct.error) as error:
        raise Misconfigured(
            f"{file} is not a valid safetensors file: {error}; save it again"
        ) from error
    return {key: tuple(v["shape"]) for key, v in header.items() if key != "__metadata__"}


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


def _weights(model: Path) -> list[Path]:
    return sorted(model.glob("*.safetensors"))


def _matrices(file: Path) -> Iterator[tuple[str, str, tuple[int, ...]]]:
    for key, shape in tensor_shapes(file).items():
        if (found := _MATRIX.fullmatch(key)) and len(shape) == 2:
            yield found[1], found[2], shape
