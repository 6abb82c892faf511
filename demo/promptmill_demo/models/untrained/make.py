"""Creation of both models with random weights, once for each recipe."""

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
    """Create the two models in ``folder``, unless they exist with the same recipe.

    The same seed gives the same bytes. The answers are random words, and the scores do not
    depend on their quality.
    """
    models = DemoModels(*(folder / name for name in NAMES))
    recipe, text = _recipe(seed), shipped_text()
    make_once(models.instruct, recipe, lambda fresh: write_instruct_model(fresh, text, seed))
    make_once(models.reward, recipe, lambda fresh: write_reward_model(fresh, text, seed + 1))
    return models


def _recipe(seed: int) -> str:
    """Return a digest of what determines a model's bytes: the package's sources and the seed."""
    import transformers

    digest = blake2b(f"{seed} {transformers.__version__}".encode(), digest_size=16)
    for name in _SOURCES:
        digest.update(resources.files("promptmill_demo.models").joinpath(name).read_bytes())
    return digest.hexdigest()
