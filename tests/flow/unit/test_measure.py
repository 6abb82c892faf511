"""Lags from positions and reports."""

from __future__ import annotations

import pytest

from promptmill.flow.lags import TopicLag
from promptmill.flow.measure import READERS, Measurement, Positions
from promptmill.flow.reports import Share, WorkerReport, decode_report, encode_report
from promptmill.stream.ports import Partition

P0, P1 = Partition("scored", 0), Partition("scored", 1)


def positions(end: int, committed: int) -> Positions:
    return Positions({P0: (0, end), P1: (5, 5)}, {"filter": {P0: committed}})


def test_a_lag_is_what_lies_beyond_the_commits() -> None:
    lag = Measurement().lags(positions(100, 60), [], 0.0)["scored"]
    assert (lag.records, lag.groups, lag.partitions) == (40, {"filter": 40}, 2)


def test_a_partition_without_a_commit_counts_from_its_first_message() -> None:
    found = Measurement().lags(Positions({P0: (10, 30)}, {}), [], 0.0)
    assert found["scored"].records == 20


def test_finished_work_beyond_the_commits_is_no_lag() -> None:
    report = WorkerReport("filter", done={P0: 90})
    assert Measurement().lags(positions(100, 60), [report], 0.0)["scored"].records == 10


def test_a_report_that_is_older_than_the_commit_changes_nothing() -> None:
    report = WorkerReport("filter", done={P0: 50})
    assert Measurement().lags(positions(100, 60), [report], 0.0)["scored"].records == 40


def test_a_report_of_another_stage_says_nothing_about_this_one() -> None:
    report = WorkerReport("store", done={P0: 90})
    assert Measurement().lags(positions(100, 60), [report], 0.0)["scored"].records == 40


def test_a_topic_is_as_far_behind_as_the_slowest_stage_that_reads_it() -> None:
    prompts = Partition("prompts", 0)
    at = Positions({prompts: (0, 100)}, {"instruct": {prompts: 90}, "store": {prompts: 30}})
    lag = Measurement().lags(at, [], 0.0)["prompts"]
    assert (lag.records, lag.groups) == (70, {"instruct": 10, "store": 70})


def test_bytes_and_tokens_are_estimated_from_recent_messages() -> None:
    prompts = Partition("prompts", 0)
    at = Positions({prompts: (0, 10), P0: (0, 10)}, {})
    reports = [
        WorkerReport("instruct", {"prompts": Share(300, 3)}, Share(800, 2)),
        WorkerReport("instruct", {"prompts": Share(100, 1), "scored": Share(50, 1)}),
    ]
    lags = Measurement().lags(at, reports, 0.0)
    assert (lags["prompts"].bytes, lags["prompts"].tokens) == (1_000, 4_000)
    assert (lags["scored"].bytes, lags["scored"].tokens) == (500, None)


def test_a_new_reader_goes_on_with_the_means_of_the_one_before() -> None:
    before = {"scored": TopicLag("scored", 10, 500)}
    assert Measurement(before).lags(positions(100, 60), [], 0.0)["scored"].bytes == 2_000


def test_seconds_are_what_is_left_at_the_rate_of_the_last_seconds() -> None:
    measurement = Measurement()
    assert measurement.lags(positions(100, 0), [], 0.0)["scored"].seconds is None
    assert measurement.lags(positions(100, 20), [], 10.0)["scored"].seconds == 40.0
    for at_s in range(11, 40):
        lag = measurement.lags(positions(100, 20), [], float(at_s))["scored"]
    assert lag.seconds is None, "nothing has moved for longer than the window"
    assert measurement.lags(positions(100, 100), [], 40.0)["scored"].seconds == 0.0


def test_reports_survive_their_encoding() -> None:
    report = WorkerReport("filter", {"scored": Share(5.0, 1.0)}, Share(2.0, 1.0), {P0: 7})
    assert decode_report(encode_report(report)) == report


@pytest.mark.parametrize("wrong", [b"", b"[]", b"{}", b'{"stage":"x","sizes":3,"tokens":[]}'])
def test_what_is_no_report_is_refused(wrong: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - orjson's own error is one, too
        decode_report(wrong)


def test_a_mean_follows_what_is_recent_and_stays_while_nothing_comes() -> None:
    share = Share().add(100, 1)
    for _ in range(50):
        share = share.add(10, 1)
    assert 10 <= share.mean < 11
    assert share.add(0, 0) == share


def test_every_topic_is_read_by_the_stages_of_the_pipeline() -> None:
    assert READERS["prompts"] == ("instruct", "store")
    assert READERS["scored"] == ("filter",)
    assert READERS["dead-letters"] == ("store",)
