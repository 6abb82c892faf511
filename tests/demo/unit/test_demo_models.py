"""The shipped models arrive whole, once, and only when they have changed."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from promptmill.runtime.errors import Misconfigured
from promptmill_demo.models import make_demo_models
from promptmill_demo.models.demo import NAMES, SHIPPED
from promptmill_demo.models.folders import RECIPE
from promptmill_schemas import ATTRIBUTES

MAX_BYTES = 16 * 1024 * 1024
trained = pytest.mark.skipif(
    not (SHIPPED / "MODEL_CARD.md").is_file(),
    reason="this clone ships no trained weights yet: scripts/train_demo_models makes them",
)


@pytest.fixture
def shipped(tmp_path: Path) -> Path:
    """A folder of models with small files in place of weights."""
    folder = tmp_path / "shipped"
    for name in NAMES:
        (folder / name).mkdir(parents=True)
        (folder / name / "config.json").write_text("{}")
        (folder / name / "model.safetensors").write_bytes(b"weights")
    return folder


def test_models_are_copied_once(shipped: Path, tmp_path: Path) -> None:
    models = make_demo_models(tmp_path / "home", shipped=shipped)
    first = (models.reward / RECIPE).stat().st_ino
    assert make_demo_models(tmp_path / "home", shipped=shipped) == models
    assert (models.reward / RECIPE).stat().st_ino == first
    assert (models.instruct / "model.safetensors").read_bytes() == b"weights"


def test_other_weights_replace_the_copy(shipped: Path, tmp_path: Path) -> None:
    make_demo_models(tmp_path / "home", shipped=shipped)
    (shipped / "demo-reward" / "model.safetensors").write_bytes(b"better")
    models = make_demo_models(tmp_path / "home", shipped=shipped)
    assert (models.reward / "model.safetensors").read_bytes() == b"better"
    assert sorted(path.name for path in (tmp_path / "home").iterdir()) == sorted(NAMES)


def test_missing_weights_are_an_error_that_says_what_to_do(shipped: Path, tmp_path: Path) -> None:
    shutil.rmtree(shipped / "demo-reward")
    with pytest.raises(Misconfigured, match="scripts/train_demo_models"):
        make_demo_models(tmp_path / "home", shipped=shipped)


@trained
def test_the_shipped_models_are_small_and_of_the_promised_architectures() -> None:
    total = sum(path.stat().st_size for path in SHIPPED.rglob("*") if path.is_file())
    assert total <= MAX_BYTES
    configs = [json.loads((SHIPPED / name / "config.json").read_text()) for name in NAMES]
    assert configs[0]["architectures"] == ["NemotronForCausalLM"]
    assert configs[1]["architectures"] == ["LlamaForSequenceClassification"]
    assert tuple(configs[1]["id2label"].values()) == ATTRIBUTES


@trained
def test_the_card_has_the_figures_that_were_measured() -> None:
    figures = json.loads((SHIPPED / "figures.json").read_text())
    card = (SHIPPED / "MODEL_CARD.md").read_text("utf-8")
    demo = figures["demo"]
    assert f"{100 * demo['accuracy_all']:.1f} %" in card
    assert f"{100 * demo['accuracy_accepted']:.1f} %" in card
    assert demo["accuracy_accepted"] - demo["accuracy_all"] >= 0.20
    assert demo["kept"] >= 0.30
