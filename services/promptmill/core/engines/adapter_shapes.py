"""Whether an adapter's matrices fit the model's; vLLM copies what fits and ignores the rest."""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Iterator
from pathlib import Path

from promptmill.core.engines.adapters import WEIGHTS
from promptmill.core.errors import Misconfigured

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
