"""The two models of the demo, which a clone contains and which are copied before use."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from functools import partial
from hashlib import blake2b
from pathlib import Path

from promptmill.runtime.errors import Misconfigured
from promptmill_demo.models.folders import make_once

SHIPPED = Path(__file__).resolve().parents[3] / "models"
"""The folder in a clone; the wheel does not contain the weights."""

NAMES = ("demo-instruct", "demo-reward")


@dataclass(frozen=True, slots=True)
class DemoModels:
    """The folders of the generator and the grader, in Hugging Face format."""

    instruct: Path
    reward: Path


def make_demo_models(folder: Path, *, shipped: Path = SHIPPED) -> DemoModels:
    """Copy the two trained models into ``folder``, unless they are there with these weights.

    Two processes may call this at the same time, because each folder is created atomically.

    Raises:
        Misconfigured: ``shipped`` does not contain the models.
    """
    for name in NAMES:
        source = shipped / name
        if not (source / "config.json").is_file():
            raise Misconfigured(
                f"the demo's models are not in {shipped}: the wheel does not contain their "
                "weights; use a clone of the repository, or train them with "
                "scripts/train_demo_models"
            )
        make_once(folder / name, _digest(source), partial(shutil.copytree, source))
    return DemoModels(*(folder / name for name in NAMES))


def _digest(folder: Path) -> str:
    """Return a digest of the names and contents of all files."""
    digest = blake2b(digest_size=16)
    for path in sorted(folder.iterdir()):
        digest.update(path.name.encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()
