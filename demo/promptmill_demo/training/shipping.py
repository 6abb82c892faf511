"""Writing of trained models in Hugging Face format, with weights in bfloat16."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from promptmill_demo.models.demo import NAMES
from promptmill_demo.training.stages import Stages


def write_models(stages: Stages, folder: Path) -> None:
    """Write both models into ``folder``, under the names that the demo expects."""
    pairs = (
        (stages.generator(), stages.instruct_tokenizer),
        (stages.grader(), stages.reward_tokenizer),
    )
    for name, (model, tokenizer) in zip(NAMES, pairs, strict=True):
        _write(model, tokenizer, folder / name)


def _write(model: Any, tokenizer: Any, folder: Path) -> None:
    import torch

    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    model.to(torch.bfloat16).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    for path in folder.iterdir():
        path.chmod(0o644)
