"""How the numbers of a judge are found, whatever it writes around them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from promptmill.inference.http.errors import NotFinite, Unreadable
from promptmill.inference.http.grade.verdict import Scale, read_numbers
from promptmill_schemas import ATTRIBUTES

VERDICT: dict[str, Any] = dict(zip(ATTRIBUTES, (4, 3, 2, 1, 0), strict=True))
JSON = json.dumps(VERDICT)
SCALES = dict.fromkeys(ATTRIBUTES, Scale(0, 4))
CHANNELS = (
    "<|channel|>analysis<|message|>helpfulness: 0<|end|><|start|>assistant"
    "<|channel|>final<|message|>{}"
)
COMPARISON = {"score_1": Scale(1, 5), "score_2": Scale(1, 5), "ranking": Scale(1, 6)}


def lines(template: str) -> str:
    return "\n".join(template.format(name=name, score=VERDICT[name]) for name in ATTRIBUTES)


@pytest.mark.parametrize(
    "text",
    [
        JSON,
        json.dumps({name.upper(): str(score) for name, score in VERDICT.items()}),
        json.dumps({f"{name.title()} Score": f"{score}/4" for name, score in VERDICT.items()}),
        json.dumps({"scores": VERDICT, "reason": "good"}),
        json.dumps({name: {"score": score, "why": "…"} for name, score in VERDICT.items()}),
        json.dumps([{"attribute": name, "score": score} for name, score in VERDICT.items()]),
        f"```json\n{JSON}\n```",
        f"My verdict:\n{JSON}\nThat is all [1].",
        f"<think>Is {{this}} good? helpfulness: 0</think>\n{JSON}",
        f"The format is {{...}}. {JSON}\n\nOnce more: {JSON}",
        str(VERDICT),
        f"{JSON[:-1]},}}",
        JSON[:-1],
        lines("**{name}**: {score}"),
        lines("- {name} - {score}/4, because"),
        lines("| {name} | {score} |"),
        lines("{name} (0-4): {score} out of 4."),
        lines("### {name}\nScore: {score}"),
        lines("I say {name} is a {score}"),
        lines("{name} [0-4]: {score}"),
        lines("{name}\uff1a{score}\uff0f4"),
        JSON.replace('"', "“"),
        JSON.replace(" ", "\u00a0"),
        json.dumps({**VERDICT, "reason": "It says “no”."}, ensure_ascii=False),
        f"[THINK]helpfulness: 0[/THINK]{JSON}",
        f"◁think▷helpfulness: 0◁/think▷{JSON}",
        CHANNELS.format(JSON),
    ],
)
def test_a_verdict_is_found_in_any_form(text: str) -> None:
    assert read_numbers(text, SCALES) == VERDICT


@pytest.mark.parametrize(
    ("score", "expected"),
    [
        (3.5, 3.5),
        ("3", 3.0),
        ("3.5 (good)", 3.5),
        ("Score: 3", 3.0),
        ("7.5 of 10", 3.0),
        ("7,5/10", 3.0),
        ("3 out of 4", 3.0),
        ("75 %", 3.0),
        ("four", 4.0),
        ({"score": 7.5, "out_of": 10}, 3.0),
        ({"rating": "3/4", "max": 10}, 3.0),
    ],
)
def test_numbers_may_be_text_and_name_their_maximum(score: Any, expected: float) -> None:
    assert read_numbers(json.dumps(VERDICT | {"coherence": score}), SCALES)["coherence"] == expected


def test_a_maximum_beside_the_scores_concerns_all_of_them() -> None:
    text = json.dumps({"scale": 10, "scores": dict.fromkeys(ATTRIBUTES, 7.5)})
    assert read_numbers(text, SCALES) == dict.fromkeys(ATTRIBUTES, 3.0)


@pytest.mark.parametrize(
    "score",
    [
        -1,
        5,
        4.01,
        10**400,
        "-1",
        "5",
        "3-4",
        "3 or 4",
        "1.2.3",
        "good",
        "",
        "3 of 0",
        None,
        True,
        [4],
        {},
    ],
)
def test_a_score_that_is_no_number_of_the_scale_is_refused(score: Any) -> None:
    with pytest.raises(Unreadable, match="coherence"):
        read_numbers(json.dumps(VERDICT | {"coherence": score}), SCALES)


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_a_number_that_is_not_finite_is_refused(number: str) -> None:
    with pytest.raises(NotFinite, match="helpfulness"):
        read_numbers(JSON.replace("4", number, 1), SCALES)


@pytest.mark.parametrize(
    "text",
    [
        f"{JSON} {json.dumps(VERDICT | {'coherence': 3})}",
        JSON.replace("{", '{"coherence": 3, ', 1),
        lines("{name}: {score}") + "\nOn second thought, coherence: 3",
    ],
)
def test_a_verdict_that_contradicts_itself_is_refused(text: str) -> None:
    with pytest.raises(Unreadable, match=r"coherence is \[2.0, 3.0\]"):
        read_numbers(text, SCALES)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "No comment.",
        "4, 3, 2, 1, 0",
        "{",
        "[1]",
        "{}",
        f"<think>{JSON}",
        lines("{name}: 3-4"),
        lines("{name}: 3 to 4"),
        lines("{name}\n\n1. It is"),
        "{" * 100_000,
        "[{" * 100_000,
        "helpfulness " * 10_000,
        "1" * 10_000,
    ],
)
def test_a_text_without_a_verdict_is_refused(text: str) -> None:
    with pytest.raises(Unreadable, match="not a JSON object"):
        read_numbers(text, SCALES)


@pytest.mark.parametrize(
    "text",
    [
        '{"score_1": 4, "score_2": "3", "ranking": 2}',
        '{"Score 1": 4, "Score 2": 3, "Ranking": 2}',
        "Score 1: 4\nscore_2 = 3/5\nRanking: 2",
    ],
)
def test_numbered_names_are_told_apart(text: str) -> None:
    assert read_numbers(text, COMPARISON) == {"score_1": 4.0, "score_2": 3.0, "ranking": 2.0}
