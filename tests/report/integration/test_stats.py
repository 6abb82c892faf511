"""The figures of a store are those of its rows."""

from __future__ import annotations

from pathlib import Path

import pyarrow.compute as pc
import pytest
from deltalake import DeltaTable

from promptmill.lake.ports import TableName
from promptmill.lake.reader import DeltaReader
from promptmill.report.counts import Group, RunCounts
from promptmill.report.stats import Stats, Wanted, collect
from promptmill.report.usage import Price
from promptmill.runtime.errors import Misconfigured
from support.exports import BAD_SCORES, GOOD, GOOD_SCORES, Records, sft
from support.stats import HOSTILE, OTHER_MODEL, two_runs

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def stats(store: str) -> Stats:
    """All figures of the store."""
    return collect(store, Wanted())


def test_every_run_has_its_outcomes(stats: Stats) -> None:
    assert stats.runs == (
        RunCounts("other", 5, 5, 0, 0, 0, 5),
        RunCounts("test", 16, 10, 4, 1, 1, 10),
    )
    assert stats.records == 15
    assert stats.dead_letters == {"instruct: deadline": 1}


def test_decisions_are_counted_by_label_and_tag(stats: Stats) -> None:
    groups = stats.groups
    assert groups["kind"] == (Group("sft", 10, 10, 0), Group("preference", 5, 5, 0))
    assert groups["model"] == (Group("none", 10, 10, 4), Group(f"{OTHER_MODEL}@2", 5, 5, 0))
    assert groups["policy"] == (Group("p-1", 15, 15, 4),)
    assert groups["category"] == (Group("tests", 15, 15, 3), Group("", 0, 0, 1))
    assert groups["tag"] == (Group("domain=tests", 15, 15, 3),)
    assert groups["licence"] == ()
    assert groups["policy"][0].acceptance == pytest.approx(15 / 19)


def test_scores_of_accepted_and_rejected_answers_share_their_bins(stats: Stats) -> None:
    accepted, rejected = (d for d in stats.scores if d.name == "helpfulness")
    assert (accepted.count, rejected.count) == (15, 3)
    assert accepted.mean == pytest.approx(GOOD_SCORES.helpfulness)
    assert rejected.mean == pytest.approx(BAD_SCORES.helpfulness)
    assert (accepted.start, accepted.width) == (rejected.start, rejected.width)
    assert (sum(accepted.bins), sum(rejected.bins)) == (15, 3)
    reward = next(d for d in stats.scores if d.name == "reward")
    assert (reward.least, reward.greatest) == (0.0, 9.0)


def test_numbers_that_do_not_vary_have_no_correlation(stats: Stats) -> None:
    assert len(stats.correlations) == 15
    assert {each.value for each in stats.correlations} == {None}


def test_correlations_are_those_of_the_rows(tmp_path: Path) -> None:
    table = Records(tmp_path / "store")
    table.add(
        *(
            sft(number=n, reward=-2.0 * n, scores=GOOD_SCORES.model_copy(update={"complexity": n}))
            for n in range(5)
        )
    )
    found = collect(table.uri, Wanted()).correlations
    values = {(each.first, each.second): each.value for each in found}
    assert values["complexity", "reward"] == -1.0
    assert values["helpfulness", "reward"] is None


def test_decisions_over_time_have_their_reasons(stats: Stats) -> None:
    assert stats.timeline.unit == "hour"
    first, *_, last = stats.timeline.steps
    assert (first.accepted, first.reasons) == (15, {"below_limit": 1})
    assert (last.accepted, last.reasons) == (0, {"duplicate_exact": 1, "duplicate_near": 2})
    assert stats.timeline.reasons == {"duplicate_near": 2, "below_limit": 1, "duplicate_exact": 1}
    assert stats.timeline.checks == {"duplicate_near": 2, "duplicate_exact": 1, "reward": 1}


def test_duplicates_come_with_both_texts(stats: Stats) -> None:
    found = stats.duplicates
    assert (found.exact, found.near, found.stored) == (1, 2, 13)
    assert found.similarities == {"0.87": 1, "0.93": 1}
    exact, least_similar, _ = found.examples
    assert (exact.similarity, exact.original) == (1.0, GOOD)
    assert (least_similar.similarity, least_similar.answer) == (0.87, HOSTILE)


def test_tokens_are_counted_by_model_and_priced(store: str) -> None:
    found = collect(store, Wanted(prices={OTHER_MODEL: Price(100.0, 1000.0)}, examples=0))
    none, other = found.usage
    assert (none.answers, none.completion_tokens, none.cost) == (34, 10 * 15 + 3 * 7 + 1, None)
    assert (other.answers, other.completion_tokens) == (15, 75)
    assert other.cost == pytest.approx((other.prompt_tokens * 100 + 75 * 1000) / 1e6)
    assert found.duplicates.examples == ()
    with pytest.raises(Misconfigured, match=r"unheard.*other-model"):
        collect(store, Wanted(prices={"unheard": Price(1, 1)}))


def test_one_run_is_told_from_the_others(store: str) -> None:
    found = collect(store, Wanted(run="other"))
    assert [run.run for run in found.runs] == ["other"]
    assert found.groups["kind"] == (Group("preference", 5, 5, 0),)
    assert found.timeline.reasons == {}
    with pytest.raises(Misconfigured, match=r"nothing.*other, test"):
        collect(store, Wanted(run="nothing"))


def test_an_empty_store_is_an_error_that_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match="promptmill run store"):
        collect(str(tmp_path), Wanted())


def test_tables_without_decisions_have_no_figures(tmp_path: Path) -> None:
    table = Records(tmp_path / "store")
    found = collect(table.uri, Wanted())
    assert (found.records, found.runs, found.scores, found.usage) == (0, (), (), ())


def test_leaves_are_read_without_the_texts_beside_them(tmp_path: Path) -> None:
    two_runs(tmp_path / "store")
    snapshot = DeltaReader(str(tmp_path / "store")).snapshot(TableName.RECORDS)
    assert snapshot is not None
    leaves = ["kind", "scores.helpfulness", "candidates.completion_tokens", "no_such"]
    batches = list(snapshot.leaves(leaves, batch_rows=4))
    assert [batch.num_rows for batch in batches] == [4, 1, 4, 4, 2]
    (row, *_), whole = batches[0].to_pylist(), DeltaTable(str(tmp_path / "store" / "records"))
    assert row == {
        "kind": "preference",
        "scores": {"helpfulness": GOOD_SCORES.helpfulness},
        "candidates": [{"completion_tokens": 5}] * 3,
    }
    assert sum(b.num_rows for b in batches) == pc.count(whole.to_pyarrow_table()["kind"]).as_py()
