"""Both models with random weights, made once and found again by their recipe."""

from __future__ import annotations

from hashlib import blake2b
from importlib import resources
from pathlib import Path

from promptmill_demo.models.demo import NAMES, DemoModels
from promptmill_demo.models.folders import make_once
from promptmill_demo.models.tokenizer import shipped_text
from promptmill_demo.models.untrained.instruct import write_instruct_model
from promptmill_demo.models.untrained.reward import write_reward_model

_SOURCES = (
    "corpus.txt",
    "instruct.py",
    "reward.py",
    "templates.py",
    "tokenizer.py",
    "untrained/instruct.py",
    "untrained/reward.py",
)


def make_untrained_models(folder: Path, *, seed: int = 0) -> DemoModels:
    """The two models under ``folder``; made only where missing or of another recipe.

    The same seed gives the same bytes. What they answer is word soup, and what they score says
    nothing about it.
    """
    models = DemoModels(*(folder / name for name in NAMES))
    recipe, text = _recipe(seed), shipped_text()
    make_once(models.instruct, recipe, lambda fresh: write_instruct_model(fresh, text, seed))
    make_once(models.reward, recipe, lambda fresh: write_reward_model(fresh, text, seed + 1))
    return models


def _recipe(seed: int) -> str:
    """What the bytes of a model depend on: this package's sources and the seed."""
    import transformers

    digest = blake2b(f"{seed} {transformers.__version__}".encode(), digest_size=16)
    for name in _SOURCES:
        digest.update(resources.files("promptmill_demo.models").joinpath(name).read_bytes())
    return digest.hexdigest()
