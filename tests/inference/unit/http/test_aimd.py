"""The limit falls with the share of refusals and climbs step by step."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from promptmill.inference.http.limiter import GROWTH_WINDOWS, Aimd


def answer(aimd: Aimd, count: int, *, refused: bool) -> None:
    for _ in range(count):
        aimd.answered(refused=refused)


def test_a_storm_halves_the_limit_at_once_and_again_down_to_one() -> None:
    aimd = Aimd(256)
    answer(aimd, 128, refused=True)
    assert aimd.limit == 128
    answer(aimd, 1_000, refused=True)
    assert aimd.limit == 1


def test_windows_without_a_refusal_lead_back_to_the_maximum() -> None:
    aimd = Aimd(64)
    answer(aimd, 1_000, refused=True)
    for _ in range(GROWTH_WINDOWS):
        answer(aimd, aimd.limit, refused=False)
    assert aimd.limit == 64


def test_refusals_by_chance_leave_the_limit_high() -> None:
    aimd = Aimd(256)
    for number in range(10_000):
        aimd.answered(refused=number % 10 == 0)
    assert 120 < aimd.limit < 170


@given(st.integers(1, 64), st.lists(st.booleans(), max_size=300))
def test_the_limit_is_always_between_one_and_the_maximum(
    maximum: int, refusals: list[bool]
) -> None:
    aimd = Aimd(maximum)
    for refused in refusals:
        aimd.answered(refused=refused)
        assert 1 <= aimd.limit <= maximum
