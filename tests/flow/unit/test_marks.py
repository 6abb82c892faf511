"""Water marks hold above the high one, and release at the low one."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from promptmill.flow.lags import Lags, TopicLag, decode_lags, encode_lags
from promptmill.flow.marks import Marks, Pressure, Unit, pressures, room
from promptmill.flow.settings import FlowSettings, load_marks
from promptmill.runtime.errors import Misconfigured
from promptmill_schemas import TOPICS

MARKS = {"scored": Marks(100, 10_000, 0.5)}


def lags(records: int, size: int = 0) -> dict[str, TopicLag]:
    return {"scored": TopicLag("scored", records, size)}


def test_a_topic_holds_its_writers_above_the_high_mark_and_until_the_low_one() -> None:
    held: tuple[Pressure, ...] = ()
    seen = []
    for records in (100, 101, 99, 51, 50, 99, 100, 101):
        held = pressures(lags(records), MARKS, held)
        seen.append(bool(held))
    assert seen == [False, True, True, True, False, False, False, True]


def test_bytes_hold_as_records_do_and_each_says_why() -> None:
    (reason,) = pressures(lags(5, 10_001), MARKS)
    assert reason == Pressure("scored", Unit.BYTES, 10_001, 10_000, 5_000)
    assert str(reason) == "scored: 10001 bytes wait, continues at 5000 (high 10000)"
    assert reason.excess == 5_001
    assert len(pressures(lags(101, 10_001), MARKS)) == 2


def test_only_the_topics_that_are_written_to_count() -> None:
    assert pressures(lags(101), MARKS, topics=["records"]) == ()
    assert pressures(lags(101), MARKS, topics=["scored"])


def test_a_topic_without_figures_neither_holds_nor_releases() -> None:
    held = pressures(lags(101), MARKS)
    assert pressures({}, MARKS, held) == held
    assert pressures({}, MARKS) == ()


@settings(deadline=None)
@given(st.lists(st.integers(0, 250)))
def test_it_switches_only_where_a_mark_was_crossed(series: list[int]) -> None:
    held: tuple[Pressure, ...] = ()
    for records in series:
        before, held = bool(held), pressures(lags(records), MARKS, held)
        if records > 100:
            assert held
        elif records <= 50:
            assert not held
        else:
            assert bool(held) == before


def test_room_is_what_the_tighter_mark_leaves() -> None:
    assert room(TopicLag("scored", 40), MARKS["scored"]) == 60
    assert room(TopicLag("scored", 40, 8_000), MARKS["scored"]) == 10
    assert room(TopicLag("scored", 140), MARKS["scored"]) == 0


@pytest.mark.parametrize("wrong", [{"high_records": 0}, {"high_bytes": 0}, {"low_share": 1.0}])
def test_marks_that_contradict_themselves_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(Misconfigured, match=next(iter(wrong))):
        Marks(**wrong)


def test_every_topic_has_marks_and_its_own_win(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROMPTMILL_HIGH_RECORDS", "70")
    monkeypatch.setenv("PROMPTMILL_DEAD_LETTERS_HIGH_RECORDS", "7")
    marks = load_marks()
    assert marks.keys() == {topic.name for topic in TOPICS}
    assert marks["dead-letters"].high_records == 7
    assert marks["scored"].high_records == 70
    assert marks["scored"].high_bytes == FlowSettings().high_bytes


def test_a_wrong_setting_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROMPTMILL_LOW_SHARE", "2")
    with pytest.raises(Misconfigured, match="PROMPTMILL_LOW_SHARE"):
        load_marks()


def test_lags_survive_their_encoding_and_newer_fields() -> None:
    lag = TopicLag("scored", 5, 50, None, 2.5, {"filter": 5}, partitions=3)
    payload = encode_lags({"scored": lag}, "me")
    assert decode_lags(7, 10.0, 12.5, payload) == Lags(7, 10.0, {"scored": lag}, 2.5, "me")
    newer = payload.replace(b'"partitions"', b'"colour":"blue","partitions"')
    assert decode_lags(7, 10.0, 12.5, newer).topics["scored"] == lag
    assert not decode_lags(7, 10.0, 12.5, payload).is_stale
    assert decode_lags(7, 10.0, 16.0, payload).is_stale


@pytest.mark.parametrize("wrong", [b"", b"[]", b"{}", b'{"topics":[{}]}', b'{"topics":3}'])
def test_what_is_no_lags_is_refused(wrong: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - orjson's own error is one, too
        decode_lags(1, 0.0, 0.0, wrong)
