"""Bins have round widths and hold every value."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from promptmill.cli.stats import sparkline
from promptmill.report.scores import BINS, edges
from promptmill.report.usage import Price, parse_prices
from promptmill.runtime.errors import Misconfigured


@example(0.0, 5e-324)
@given(st.floats(-1e6, 1e6), st.floats(0, 1e6))
def test_the_bins_hold_the_least_and_the_greatest_value(least: float, span: float) -> None:
    start, width = edges(least, least + span)
    slack = 1e-9 * max(1.0, abs(least), span)
    assert start <= least + slack
    assert start + BINS * width >= least + span - slack


def test_the_nominal_range_of_scores_has_quarters() -> None:
    assert edges(-0.4, 4.4) == (-0.5, 0.25)
    assert edges(3.0, 3.0) == (3.0, 0.1)


def test_a_bin_that_is_not_empty_has_a_bar() -> None:
    assert sparkline([0, 1, 1_000_000, 500_000]) == " ▁█▄"
    assert sparkline([0, 0]) == "  "
    assert sparkline([]) == ""
    assert sparkline([0, 4, 1, 0] * 5) == "█▂" * 5


def test_prices_are_of_a_million_tokens_by_model() -> None:
    assert parse_prices(["a/b=c=0.15,0.6", "d=1,0"]) == {
        "a/b=c": Price(0.15, 0.6),
        "d": Price(1.0, 0.0),
    }


@pytest.mark.parametrize(
    "text", ["", "model", "model=1", "=1,2", "m=1,2,3", "m=a,b", "m=-1,2", "m=nan,1"]
)
def test_a_price_that_is_none_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(Misconfigured, match=r"my-model=0\.15,0\.6"):
        parse_prices([text])
