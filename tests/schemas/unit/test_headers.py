"""The headers of messages: exact names, a trace that is passed on, and hostile values."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from promptmill_schemas import (
    TOPICS,
    Completion,
    Contract,
    DeadLetter,
    Message,
    Prompt,
    Scored,
    Topic,
)
from promptmill_schemas.documents import asyncapi
from promptmill_schemas.headers import (
    DESCRIPTIONS,
    MAX_VALUE_BYTES,
    EventHeaders,
    Headers,
    as_texts,
    event_type,
    from_texts,
    kept,
    new_trace,
    trace_of,
)
from promptmill_schemas.topics import COMPLETIONS, DEAD_LETTERS, PROMPTS, SCORED
from support.contracts import completions, dead_letters, scored

PARENT = b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
TRACE: Headers = (("traceparent", PARENT), ("tracestate", b"vendor=1,other=2"))
EVENTS = EventHeaders("instruct")
TIME = datetime(2026, 11, 25, 9, 30, tzinfo=UTC)


def prompt(**changes: object) -> Prompt:
    made = Prompt.create("run", (Message(role="user", content="Why?"),), created_at=TIME)
    return made.model_copy(update=changes)


def texts(topic: Topic, contract: Contract, trace: Headers = ()) -> dict[str, str]:
    headers = EVENTS.of(topic, contract, trace)
    assert len(dict(headers)) == len(headers), "a header occurs once"
    return {name: value.decode() for name, value in headers}


def test_the_types_of_events_name_contract_and_version() -> None:
    assert [event_type(topic) for topic in TOPICS] == [
        "promptmill.prompt.v1",
        "promptmill.completion.v1",
        "promptmill.scored.v1",
        "promptmill.record.v1",
        "promptmill.reject.v1",
        "promptmill.dead-letter.v1",
    ]


def test_a_prompt_has_the_attributes_of_cloudevents_in_binary_mode_and_its_trace() -> None:
    made = prompt()
    found = texts(PROMPTS, made, TRACE)
    assert found.pop("ce_source").startswith("/promptmill/instruct/")
    assert found == {
        "content-type": "application/json",
        "ce_specversion": "1.0",
        "ce_type": "promptmill.prompt.v1",
        "ce_id": made.prompt_id,
        "ce_subject": made.prompt_id,
        "ce_time": "2026-11-25T09:30:00+00:00",
        "traceparent": PARENT.decode(),
        "tracestate": "vendor=1,other=2",
    }


def test_what_follows_from_a_replay_is_another_event() -> None:
    first, second = prompt(), prompt(replays=2)
    assert texts(PROMPTS, second)["ce_id"] == f"{texts(PROMPTS, first)['ce_id']}-2"


@given(dead_letters())
def test_a_letter_and_the_notice_of_its_replay_are_two_events(letter: DeadLetter) -> None:
    states = ("dead", "replayed")
    ids = {texts(DEAD_LETTERS, letter.model_copy(update={"state": s}))["ce_id"] for s in states}
    assert ids == {letter.letter_id, f"{letter.letter_id}-replayed"}


@given(completions(), scored())
def test_completions_and_grades_carry_the_time_at_which_their_work_began(
    completion: Completion, grades: Scored
) -> None:
    for topic, message in ((COMPLETIONS, completion), (SCORED, grades)):
        found = texts(topic, message)
        assert datetime.fromisoformat(found["ce_time"]) == message.timings.started_at
        assert found["ce_subject"] == topic.key(message)


def test_the_asyncapi_document_describes_the_headers_of_every_message() -> None:
    described = {n: m["headers"] for n, m in asyncapi()["components"]["messages"].items()}
    validator = Draft202012Validator(described["Prompt"])
    validator.validate(texts(PROMPTS, prompt(), TRACE))
    assert not validator.is_valid({"ce_type": "promptmill.record.v1"})
    assert all(set(each["properties"]) == set(DESCRIPTIONS) for each in described.values())


@pytest.mark.parametrize(
    "parent",
    [
        b"",
        b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
        b"00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
        b"00-00000000000000000000000000000000-00f067aa0ba902b7-01",
        b"00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
        b"ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        PARENT + b"-more",
        PARENT + b"\n",
        b" " + PARENT,
        b"\xff\xfe" * 20,
        "00-٤bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".encode(),
    ],
    ids=repr,
)
def test_an_invalid_traceparent_is_ignored_with_its_state(parent: bytes) -> None:
    assert trace_of((("traceparent", parent), ("tracestate", b"a=1"))) == ()


def test_a_later_version_of_the_trace_context_is_passed_on() -> None:
    later: Headers = (("traceparent", b"cc" + PARENT[2:] + b"-what-the-future-adds"),)
    assert trace_of(later) == later


def test_two_parents_are_no_parent() -> None:
    assert trace_of((TRACE[0], TRACE[0])) == ()


@pytest.mark.parametrize(
    "state",
    [b"=1", b"a", b"A=1", b"a=\xff", b"a=1\x00", b",".join(b"k%d=v" % n for n in range(33))],
    ids=repr,
)
def test_an_invalid_tracestate_is_dropped_and_the_parent_kept(state: bytes) -> None:
    assert trace_of((TRACE[0], ("tracestate", state))) == (TRACE[0],)


def test_several_tracestates_are_joined_in_their_order() -> None:
    given_: Headers = (("tracestate", b"a=1"), TRACE[0], ("tracestate", b"b=2"))
    assert dict(trace_of(given_))["tracestate"] == b"a=1,b=2"


def test_unknown_huge_and_empty_headers_are_not_kept() -> None:
    huge = b"x" * (MAX_VALUE_BYTES + 1)
    more = [("x-mine", b"1"), ("ce_source", huge), ("ce_time", None), ("tracestate", huge)]
    assert kept([*more, TRACE[0]]) == (TRACE[0],)
    assert kept([TRACE[0]] * 100_000) == ()


@given(
    st.lists(
        st.tuples(
            st.sampled_from([*DESCRIPTIONS, "other"]),
            st.none() | st.binary(max_size=600) | st.just(PARENT) | st.just(b"a=1"),
        )
    )
)
def test_whatever_the_headers_are_they_are_bounded_and_survive_a_dead_letter(
    hostile: list[tuple[str, bytes | None]],
) -> None:
    found = kept(hostile)
    assert sum(len(name) + len(value) for name, value in found) < 9 * (MAX_VALUE_BYTES + 20)
    restored = from_texts(as_texts(found))
    assert trace_of(restored) in (trace_of(found), trace_of(found)[:1], ())
    again = EVENTS.again(PROMPTS, found, "ab" * 16)
    assert "ce_id" in dict(again)
    assert all(value.decode().isprintable() for _, value in again)


def test_a_new_trace_has_the_id_of_the_prompt() -> None:
    made = prompt()
    ((name, value),) = new_trace(made.prompt_id)
    assert (name, value.split(b"-")[1]) == ("traceparent", made.prompt_id.encode())
    assert trace_of(new_trace(made.prompt_id)) == new_trace(made.prompt_id)
    assert new_trace("0" * 32) == new_trace("not an id") == ()


def test_a_message_that_is_sent_again_keeps_its_event_or_gets_one() -> None:
    original = EVENTS.of(PROMPTS, prompt(), TRACE)
    assert set(EventHeaders("dead").again(PROMPTS, original, "ab" * 16)) == set(original)
    bare = dict(EventHeaders("dead").again(PROMPTS, TRACE, "ab" * 16))
    assert (bare["ce_id"], bare["traceparent"]) == (b"ab" * 16, PARENT)
    assert b"ab" * 16 in dict(EVENTS.again(PROMPTS, (), "ab" * 16))["traceparent"]
