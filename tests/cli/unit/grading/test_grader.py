"""Answers through a grader: in order, bounded in number, refusals kept apart."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from promptmill.cli.grading.grader import IN_FLIGHT, Grader, grade_all
from promptmill.cli.grading.labelled import Labelled, read_labelled
from promptmill.cli.grading.run import evaluate
from promptmill.inference.ports import Compared, CompareRequest, GradeRequest, GraderInfo
from promptmill.inference.scores import Calibration
from promptmill.reward.pairwise import Pairwise
from promptmill.reward.panel import PanelVerdict, Refusal
from promptmill.reward.pointwise import Pointwise
from promptmill.runtime.errors import EngineDead, Misconfigured, Poison
from promptmill_schemas import ATTRIBUTES, AttributeScores, Message
from promptmill_schemas.grading import NEMOTRON_WEIGHTS
from support.engines import FakeComparer

DATA = Path(__file__).resolve().parents[4] / "data" / "examples"
QUESTION = (Message(role="user", content="How long?"),)


class LengthGrader:
    """Scores the length of an answer; refuses and dies on demand."""

    def __init__(self) -> None:
        self.at_once = 0
        self.most = 0
        self.closed = False

    @property
    def info(self) -> GraderInfo:
        return GraderInfo("test", "length")

    @property
    def context_tokens(self) -> int:
        return 0

    async def start(self) -> None:
        """Nothing to load."""

    async def grade(self, request: GradeRequest) -> AttributeScores:
        self.at_once += 1
        self.most = max(self.most, self.at_once)
        await asyncio.sleep(0)
        self.at_once -= 1
        if request.answer == "refuse":
            raise Poison("too long")
        if request.answer == "die":
            raise EngineDead("gone")
        return AttributeScores(**dict.fromkeys(ATTRIBUTES, float(len(request.answer))))

    async def close(self) -> None:
        self.closed = True


def grader(engine: LengthGrader, **lines: tuple[float, float]) -> Grader:
    return Grader(Pointwise([engine], Calibration(lines)), NEMOTRON_WEIGHTS)


async def test_grades_come_in_the_order_of_the_answers() -> None:
    engine, told = LengthGrader(), list[int]()
    answers = ["a", "bbb", "refuse", "cc"]
    items = [(QUESTION, (each,)) for each in answers]
    judged = [one for (one,) in await grade_all(grader(engine), items, told.append)]
    grades = [one.reason if isinstance(one, Refusal) else one.scores for one in judged]
    assert [g if isinstance(g, str) else g.helpfulness for g in grades] == [1, 3, "too long", 2]
    assert told == [1, 2, 3, 4]
    assert engine.closed


async def test_no_more_are_in_flight_than_allowed() -> None:
    engine = LengthGrader()
    await grade_all(grader(engine), [(QUESTION, ("a",))] * (2 * IN_FLIGHT), lambda _done: None)
    assert engine.most == IN_FLIGHT


async def test_a_dead_engine_ends_the_grading_and_is_closed() -> None:
    engine = LengthGrader()
    items = [(QUESTION, ("die", "a")), (QUESTION, ("a",))]
    with pytest.raises(EngineDead):
        await grade_all(grader(engine), items, lambda _done: None)
    assert engine.closed


def test_the_shipped_pairs_are_graded() -> None:
    file = DATA / "rewardbench.jsonl"
    figures = evaluate(read_labelled(str(file)), grader(LengthGrader()), lambda _done, _all: None)
    assert figures["pairs"] == 120
    assert figures["ungraded"] == 0
    assert {name.partition("-")[0] for name in figures["subsets"]} == {
        "open_qa", "rewrite", "closed_qa", "classify", "math",
    }  # fmt: skip


def test_the_shipped_rows_are_graded() -> None:
    file = DATA / "helpsteer2.jsonl"
    figures = evaluate(read_labelled(str(file)), grader(LengthGrader()), lambda _done, _all: None)
    assert figures["rows"] == 120
    assert figures["attributes"]["verbosity"]["spearman"] > 0.8


async def test_scores_are_calibrated_as_the_worker_would() -> None:
    engine = grader(LengthGrader(), verbosity=(0.5, 1.0))
    ((verdict,),) = await grade_all(engine, [(QUESTION, ("four",))], lambda _done: None)
    assert isinstance(verdict, PanelVerdict)
    scores = verdict.scores
    assert (scores.verbosity, scores.helpfulness) == (3.0, 4.0)


def likes_numbers(request: CompareRequest) -> Compared:
    """Prefers the answer with a digit in it."""
    first, second = (float(any(map(str.isdigit, text))) for text in (request.first, request.second))
    return tuple(  # type: ignore[return-value]
        AttributeScores(**dict.fromkeys(ATTRIBUTES, score)) for score in (first, second)
    )


def written(folder: Path, *rows: dict[str, Any]) -> Labelled:
    path = folder / "rows.jsonl"
    path.write_text("\n".join(json.dumps(row) for row in rows))
    return read_labelled(str(path))


def test_a_grader_that_compares_sees_all_answers_of_a_row(tmp_path: Path) -> None:
    row = {"prompt": "2 + 2?", "chosen": ["4"], "rejected": ["fish", "no", "yes"]}
    engine = FakeComparer(likes_numbers)
    compares = Grader(Pairwise([engine], pairs="all"), NEMOTRON_WEIGHTS)
    figures = evaluate(written(tmp_path, row), compares, lambda _done, _all: None)
    assert figures["accuracy"] == 1.0
    assert len(engine.asked) == 12


def test_a_grader_that_compares_cannot_grade_rated_answers(tmp_path: Path) -> None:
    row = {"prompt": "2 + 2?", "response": "4", **dict.fromkeys(ATTRIBUTES, 3)}
    compares = Grader(Pairwise([FakeComparer(likes_numbers)]), NEMOTRON_WEIGHTS)
    with pytest.raises(Misconfigured, match="file of pairs"):
        evaluate(written(tmp_path, row), compares, lambda _done, _all: None)
