"""A training repeats itself to the byte, and goes on where it was interrupted."""

from __future__ import annotations

from pathlib import Path

import pytest

from promptmill_demo.models.demo import NAMES
from promptmill_demo.training.optimise import TrainingSchedule
from promptmill_demo.training.stages import Plan, Stages

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.slow

SHORT = TrainingSchedule(2, batch=4)
MOMENT = Plan(SHORT, SHORT, SHORT, SHORT, sampled=6)
WEIGHTS = [f"{name}/model.safetensors" for name in NAMES]


def trained(work: Path, out: Path) -> list[bytes]:
    from promptmill_demo.training.shipping import write_models

    write_models(Stages(work, MOMENT, seed=3), out)
    return [(out / name).read_bytes() for name in WEIGHTS]


@pytest.fixture
def one_thread() -> int:
    """As the training's own processes have it; sums are then added in one order."""
    torch.set_num_threads(1)
    return 1


def test_one_seed_gives_the_same_bytes(tmp_path: Path, one_thread: int) -> None:
    first = trained(tmp_path / "work-1", tmp_path / "out-1")
    assert trained(tmp_path / "work-2", tmp_path / "out-2") == first


def test_finished_steps_are_not_repeated(tmp_path: Path, one_thread: int) -> None:
    first = trained(tmp_path / "work", tmp_path / "out-1")
    begun = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "work").iterdir()}
    assert trained(tmp_path / "work", tmp_path / "out-2") == first
    assert begun == {path.name: path.stat().st_mtime_ns for path in (tmp_path / "work").iterdir()}
