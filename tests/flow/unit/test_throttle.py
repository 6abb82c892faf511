"""A worker is held by marks, and by its share of the room below them."""

from __future__ import annotations

from promptmill.flow.lags import TopicLag
from promptmill.flow.marks import Marks, Pressure
from promptmill.flow.throttle import Output, Throttle, label
from promptmill.flow.worker import outputs_of
from promptmill_schemas import TOPICS

TRICKLE = 4


def throttle(stages: int = 1) -> Throttle:
    return Throttle({"scored": Output(Marks(100, 10_000, 0.5), stages)}, TRICKLE)


def lags(records: int) -> dict[str, TopicLag]:
    return {"scored": TopicLag("scored", records)}


def learn(worker: Throttle, records: int, now_s: float = 0.0, age_s: float = 0.0) -> None:
    worker.learn(lags(records), now_s, age_s, part=1.0)


def reasons(worker: Throttle) -> list[str]:
    return [label(reason) for reason in worker.reasons]


def test_before_anything_is_known_there_is_a_trickle() -> None:
    assert throttle().limits == {"scored": TRICKLE}


def test_the_allowance_is_the_room_below_the_mark() -> None:
    worker = throttle()
    learn(worker, 30)
    assert worker.limits == {"scored": 70}
    assert reasons(worker) == []


def test_workers_and_stages_divide_the_room() -> None:
    worker = throttle(stages=2)
    worker.learn(lags(40), 0.0, 0.0, part=0.25)
    assert worker.limits == {"scored": 8}


def test_what_was_written_since_the_measurement_is_taken_off() -> None:
    worker = throttle()
    worker.note(1.0, {"scored": 10})
    worker.note(2.0, {"scored": 25})
    worker.note(3.0, {"scored": 45})
    learn(worker, 30, now_s=3.0, age_s=1.0)
    assert worker.limits == {"scored": 45 + 70 - 20}


def test_a_measurement_from_before_all_that_is_remembered_is_taken_at_its_worst() -> None:
    worker = throttle()
    worker.note(1.0, {"scored": 40})
    learn(worker, 30, now_s=1.0, age_s=100.0)
    assert worker.limits == {"scored": 40 + 70 - 40}


def test_a_used_up_allowance_holds_until_there_is_room_again() -> None:
    worker = throttle()
    learn(worker, 30)
    worker.note(1.0, {"scored": 70})
    worker.spend("scored")
    assert reasons(worker) == ["scored allowance"]
    learn(worker, 95, now_s=2.0)
    assert reasons(worker) == ["scored allowance"], "5 below the mark is not worth it"
    learn(worker, 87, now_s=3.0)
    assert reasons(worker) == []
    assert worker.limits == {"scored": 83}


def test_a_mark_holds_until_the_low_one_whatever_the_allowance() -> None:
    worker = throttle()
    learn(worker, 101)
    (reason,) = worker.reasons
    assert isinstance(reason, Pressure)
    assert label(reason) == "scored records"
    learn(worker, 51)
    assert len(worker.reasons) == 1
    learn(worker, 50)
    assert reasons(worker) == []


def test_without_any_knowledge_it_trickles_and_remembers_the_mark() -> None:
    worker = throttle()
    learn(worker, 101)
    worker.note(1.0, {"scored": 9})
    worker.know_nothing()
    assert reasons(worker) == []
    assert worker.limits == {"scored": 9 + TRICKLE}
    worker.spend("scored")
    assert reasons(worker) == ["scored allowance"]
    learn(worker, 60)
    assert reasons(worker) == ["scored records"]


def test_an_unmeasured_topic_changes_nothing() -> None:
    worker = throttle()
    learn(worker, 101)
    held = worker.reasons
    worker.learn({}, 1.0, 0.0, part=1.0)
    assert worker.reasons == held


def test_each_stage_is_held_by_what_it_writes_to() -> None:
    marks = {topic.name: Marks() for topic in TOPICS}
    assert outputs_of("instruct", marks).keys() == {"completions", "dead-letters"}
    assert outputs_of("filter", marks).keys() == {"records", "rejects", "dead-letters"}
    assert outputs_of("filter", marks)["dead-letters"].stages == 3
    assert outputs_of("filter", marks)["records"].stages == 1
