"""A grader in real vLLM whose outputs have other names than the attributes."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from promptmill.inference.ports import GradeRequest
from promptmill.inference.vllm.grade import VllmGrader
from promptmill.inference.vllm.options import VllmOptions
from promptmill.runtime.errors import Misconfigured
from promptmill_demo.models.demo import DemoModels
from promptmill_schemas import AttributeScores, Message
from support.engines import started

pytestmark = [pytest.mark.vllm, pytest.mark.filterwarnings("ignore")]

REQUEST = GradeRequest("r", (Message(role="user", content="What is 7 times 8?"),), "56")


def renamed(model: Path, folder: Path) -> Path:
    """The same model, whose outputs have names of their own."""
    shutil.copytree(model, folder)
    config = json.loads((folder / "config.json").read_text())
    labels = ["good", "true", "clear", "hard", "long"]
    config |= {
        "id2label": dict(enumerate(labels)),
        "label2id": {name: at for at, name in enumerate(labels)},
    }
    (folder / "config.json").write_text(json.dumps(config))
    return folder


async def graded(folder: Path, heads: dict[str, str]) -> AttributeScores:
    """The scores of one answer, by an engine that starts and ends for it."""
    async with started(VllmGrader(VllmOptions(str(folder), dtype="float32"), heads)) as engine:
        return await engine.grade(REQUEST)


async def test_labels_of_other_names_are_read_by_the_names_that_are_set(
    demo_models: DemoModels, tmp_path: Path
) -> None:
    heads = {"helpfulness": "good", "correctness": "TRUE", "verbosity": "4"}
    plain = await graded(demo_models.reward, {})
    scores = await graded(renamed(demo_models.reward, tmp_path / "renamed"), heads)
    assert (scores.helpfulness, scores.correctness, scores.verbosity) == pytest.approx(
        (plain.helpfulness, plain.correctness, plain.verbosity), abs=1e-3
    )
    assert (scores.coherence, scores.complexity) == (0.0, 0.0)


@pytest.mark.parametrize(
    ("heads", "told"),
    [
        ({}, r"labels are good, true, clear, hard, long; they must name each of"),
        ({"helpfulness": "best"}, r"heads has 'best', the grader's labels are good, true"),
    ],
    ids=["none", "wrong"],
)
async def test_labels_that_fit_nothing_end_the_start_as_misconfigured(
    heads: dict[str, str], told: str, demo_models: DemoModels, tmp_path: Path
) -> None:
    folder = renamed(demo_models.reward, tmp_path / "renamed")
    with pytest.raises(Misconfigured, match=told) as end:
        await graded(folder, heads)
    assert end.value.exit_code == 78
