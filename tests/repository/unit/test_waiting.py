from __future__ import annotations

from collections.abc import Iterator

import pytest

from support.waiting import eventually, eventually_now


@pytest.fixture
def answers() -> Iterator[int]:
    return iter([0, 0, 7])


async def test_the_first_true_result_is_returned(answers: Iterator[int]) -> None:
    assert await eventually(lambda: next(answers)) == 7


async def test_coroutines_are_awaited(answers: Iterator[int]) -> None:
    async def predicate() -> int:
        return next(answers)

    assert await eventually(predicate) == 7


def test_tests_without_a_loop_can_wait_too(answers: Iterator[int]) -> None:
    assert eventually_now(lambda: next(answers)) == 7


async def test_what_never_comes_true_fails_with_its_last_result() -> None:
    with pytest.raises(AssertionError, match=r"the mill did not come true within 0 s; last: \[\]"):
        await eventually(list, timeout_s=0, because="the mill")
    with pytest.raises(AssertionError, match=r"the condition did not .* last: 0"):
        eventually_now(lambda: 0, timeout_s=0)


async def test_a_failed_assertion_is_waited_out_and_told_at_the_end(
    answers: Iterator[int],
) -> None:
    def predicate() -> bool:
        assert next(answers) == 7, "not yet"
        return True

    assert await eventually(predicate)

    def never() -> None:
        raise AssertionError("no wind")

    with pytest.raises(AssertionError) as caught:
        await eventually(never, timeout_s=0)
    assert str(caught.value.__cause__) == "no wind"


async def test_other_errors_end_the_waiting() -> None:
    def broken() -> None:
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        await eventually(broken)
