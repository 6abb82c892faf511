"""Sketches estimate the similarity of texts, and find those that are nearly equal."""

from __future__ import annotations

import random
import statistics

import pytest

from promptmill.dedup.near import (
    BAND_BYTES,
    BANDS,
    EXEMPT,
    SHINGLE_BYTES,
    SHORTEST_BYTES,
    SIGNATURE_BYTES,
    agreement,
    least_agreement,
    similarity,
    sketch,
)

ASKED = "tell me about the weather"
SEED = 11
WORDS = [
    "".join(random.Random(number).choices("abcdefghijklmnop", k=2 + number % 8))
    for number in range(2000)
]


def shingles(text: str) -> set[bytes]:
    raw = text.encode().ljust(SHINGLE_BYTES, b"\0")
    return {raw[at : at + SHINGLE_BYTES] for at in range(len(raw) - SHINGLE_BYTES + 1)}


def jaccard(one: str, other: str) -> float:
    a, b = shingles(one), shingles(other)
    return len(a & b) / len(a | b)


def pairs(count: int, words: int) -> list[tuple[str, str]]:
    """Texts and the same with up to a quarter of the words changed."""
    chance = random.Random(SEED)
    found = []
    for _ in range(count):
        share = chance.random() / 4
        text = chance.choices(WORDS, k=words)
        changed = [chance.choice(WORDS) if chance.random() < share else word for word in text]
        found.append((" ".join(text), " ".join(changed)))
    return found


def estimate(one: str, other: str) -> float:
    a, b = sketch(ASKED, one), sketch(ASKED, other)
    return similarity(agreement(a.signature, b.signature))


def share_a_band(one: str, other: str) -> bool:
    a, b = sketch(ASKED, one).bands, sketch(ASKED, other).bands
    return any(
        a[at : at + BAND_BYTES] == b[at : at + BAND_BYTES] for at in range(0, len(a), BAND_BYTES)
    )


@pytest.mark.parametrize("words", [30, 200])
def test_the_estimate_is_unbiased_and_as_exact_as_it_claims(words: int) -> None:
    errors = [estimate(a, b) - jaccard(a, b) for a, b in pairs(200, words)]
    assert abs(statistics.mean(errors)) < 0.01
    assert statistics.pstdev(errors) < 0.06


@pytest.mark.parametrize("words", [30, 200])
def test_nearly_equal_texts_share_a_band(words: int) -> None:
    near = [(a, b) for a, b in pairs(200, words) if jaccard(a, b) >= 0.75]
    assert len(near) > 25
    assert sum(share_a_band(a, b) for a, b in near) >= 0.99 * len(near)


@pytest.mark.parametrize("words", [30, 200])
def test_a_limit_takes_what_is_clearly_above_and_leaves_what_is_clearly_below(words: int) -> None:
    for one, other in pairs(200, words):
        if (true := jaccard(one, other)) > 0.95:
            assert estimate(one, other) >= 0.8
        elif true < 0.6:
            assert estimate(one, other) < 0.8


def test_equal_texts_agree_in_everything() -> None:
    one, other = (sketch(ASKED, "word " * 30) for _ in range(2))
    assert one == other
    assert similarity(agreement(one.signature, other.signature)) == 1.0
    assert (len(one.bands), len(one.signature)) == (BANDS * BAND_BYTES, SIGNATURE_BYTES)


def test_unrelated_texts_agree_in_nothing() -> None:
    one, other = " ".join(WORDS[:300]), " ".join(WORDS[1000:1300])
    assert estimate(one, other) < 0.2
    assert not share_a_band(one, other)


def test_the_part_that_differs_more_counts() -> None:
    text, other = " ".join(WORDS[:100]), " ".join(WORDS[500:600])
    same = sketch(text, text)
    for different in (sketch(other, text), sketch(text, other)):
        assert similarity(agreement(same.signature, different.signature)) < 0.2


@pytest.mark.parametrize("text", ["", "42", "Paris", "x" * (SHORTEST_BYTES - 1)])
def test_short_answers_are_exempt(text: str) -> None:
    assert sketch(ASKED, text) is EXEMPT


@pytest.mark.parametrize("asked", ["", "?", "日本語の質問", "word " * 5000])
def test_any_question_has_a_sketch(asked: str) -> None:
    one = sketch(asked, "y" * SHORTEST_BYTES)
    assert one == sketch(asked, "y" * SHORTEST_BYTES)
    assert len(one.signature) == SIGNATURE_BYTES


@pytest.mark.parametrize("limit", [0.5, 0.8, 0.9, 1.0])
def test_the_least_agreement_is_the_first_that_reaches_the_limit(limit: float) -> None:
    assert similarity(least_agreement(limit)) >= limit > similarity(least_agreement(limit) - 1)


def test_a_sketch_is_the_same_on_every_machine() -> None:
    """Claims outlive processes: these bytes may only change together with the namespace."""
    one = sketch(
        "what is a sketch", "a sketch is a small summary of a text that can be compared " * 2
    )
    assert one.bands[:8].hex() == "cc2356507e55aacb"
    assert one.signature[:8].hex() == "bc1aab86629b0839"
    assert one.signature[-8:].hex() == "df366941a72f7634"
