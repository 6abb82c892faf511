"""Verdicts of judges: what was written is read, and no text breaks the reading."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping

from hypothesis import given
from hypothesis import strategies as st

from promptmill.inference.http.errors import Unreadable
from promptmill.inference.http.grade.verdict import Scale, read_numbers
from promptmill_schemas import ATTRIBUTES

SCALE = Scale(0, 4)
SCALES = dict.fromkeys(ATTRIBUTES, SCALE)

scores = st.fixed_dictionaries(
    {name: st.integers(0, 40).map(lambda tenths: tenths / 10) for name in ATTRIBUTES}
)
cases = st.sampled_from([str.lower, str.upper, str.title, str.swapcase])
numbers = st.sampled_from(["{}", '"{}"', '"{}/4"', '"{} of 4"', '{{"score": {}}}'])
frames = st.sampled_from(["{}", "```json\n{}\n```", "Verdict: {}.", "<think>4, 3</think>{}"])
prose = st.text(st.characters(blacklist_characters="{}[]<>"), max_size=40)

PIECES = [
    *ATTRIBUTES, "{", "}", "[", "]", '"', ":", ",", " ", "\n", "-", "/", "of", "%", "4", "7.5",
    "-1", "1e9", "NaN", "null", "true", "score", "max", "<think>", "</think>", "**", "|",
]  # fmt: skip


def written(numbers_by_name: Mapping[str, float], number: str) -> str:
    pairs = (f'"{name}": {number.format(value)}' for name, value in numbers_by_name.items())
    return "{" + ", ".join(pairs) + "}"


@given(scores, cases, numbers, frames, prose)
def test_what_a_judge_writes_is_read(
    given_scores: dict[str, float], case: object, number: str, frame: str, before: str
) -> None:
    assert callable(case)
    named = {case(name): value for name, value in given_scores.items()}
    text = before + frame.format(written(named, number))
    assert read_numbers(text, SCALES) == given_scores


@given(scores, st.sampled_from(["{}: {}", "**{}**: {}", "| {} | {} |", "- {} - {}", "{} = {}/4"]))
def test_what_a_judge_writes_in_lines_is_read(
    given_scores: dict[str, float], template: str
) -> None:
    text = "\n".join(template.format(name.title(), value) for name, value in given_scores.items())
    assert read_numbers(text, SCALES) == given_scores


@given(scores, st.integers(5, 1_000))
def test_a_score_of_any_maximum_keeps_its_share(
    given_scores: dict[str, float], maximum: int
) -> None:
    shares = {name: value / 4 for name, value in given_scores.items()}
    text = json.dumps({name: f"{s * maximum:.6f} of {maximum}" for name, s in shares.items()})
    for name, number in read_numbers(text, SCALES).items():
        assert math.isclose(number, given_scores[name], abs_tol=1e-4)


@given(st.one_of(st.text(), st.lists(st.sampled_from(PIECES), max_size=60).map("".join)))
def test_any_text_gives_numbers_on_their_scale_or_is_refused(text: str) -> None:
    try:
        found = read_numbers(text, SCALES)
    except Unreadable:
        return
    assert found.keys() == SCALES.keys()
    assert all(SCALE.low <= number <= SCALE.high for number in found.values())
