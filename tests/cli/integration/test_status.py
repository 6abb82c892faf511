"""The counts of a run, exact wherever its prompts and outcomes stand."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from redis import Redis

from cli.integration.conftest import LagReader, Place, Tables
from promptmill.flow.lags import TopicLag
from promptmill.lake.ports import TableName
from promptmill_schemas.topics import PROMPTS
from support.commands import Promptmill
from support.store import letter, prompt, record, reject

pytestmark = pytest.mark.real
COUNTS = ("published", "accepted", "rejected", "dead", "pending", "settled")


def counts(promptmill: Promptmill, *arguments: str) -> tuple[Any, ...]:
    """The counts of the run, in the order of ``COUNTS``."""
    done = promptmill("status", "--run", "test", "--json", *arguments)
    assert done.code == 0, done.err
    return tuple(done.json[name] for name in COUNTS)


def test_a_run_that_nobody_published_is_empty_and_not_settled(promptmill: Promptmill) -> None:
    assert counts(promptmill) == (0, 0, 0, 0, 0, False)


def test_prompts_are_pending_until_each_has_its_outcome(
    promptmill: Promptmill, place: Place, tables: Tables
) -> None:
    place.send(PROMPTS, *(prompt(text) for text in "abcd"), prompt("a", run="other"))
    assert counts(promptmill) == (4, 0, 0, 0, 4, False)
    tables.take(TableName.RECORDS, record("a"))
    tables.take(TableName.REJECTS, reject("b"))
    assert counts(promptmill) == (4, 1, 1, 0, 2, False)
    tables.take(TableName.DEAD_LETTERS, letter("c"))
    tables.take(TableName.RECORDS, record("d"))
    assert counts(promptmill) == (4, 2, 1, 1, 0, True)


def test_a_prompt_that_was_published_twice_counts_once_when_the_store_has_read_it(
    promptmill: Promptmill, place: Place, tables: Tables
) -> None:
    place.send(PROMPTS, prompt("a"), prompt("b"), prompt("a"))
    assert counts(promptmill) == (2, 0, 0, 0, 2, False)
    sent = place.read(PROMPTS)
    last = max(sent, key=lambda each: each.offset)
    tables.take(TableName.RECORDS, record("a"), record("a", ordinal=1))
    tables.take_prompts(each for each in sent if each is not last)
    assert counts(promptmill) == (3, 1, 0, 0, 2, False), "its second message is not read yet"
    tables.pass_over_prompt(last)
    assert counts(promptmill) == (2, 1, 0, 0, 1, False)


def test_what_the_table_holds_needs_no_topic(
    promptmill: Promptmill, place: Place, tables: Tables
) -> None:
    place.send(PROMPTS, *(prompt(text) for text in "abc"))
    tables.take_prompts(place.read(PROMPTS))
    place.send(PROMPTS, prompt("d"), prompt("e"))
    assert counts(promptmill)[0] == 5


def test_a_replayed_prompt_is_pending_again_and_then_accepted(
    promptmill: Promptmill, place: Place, tables: Tables
) -> None:
    place.send(PROMPTS, prompt("a"))
    tables.take(TableName.DEAD_LETTERS, letter("a", state="replayed"))
    assert counts(promptmill) == (1, 0, 0, 0, 1, False)
    tables.take(TableName.RECORDS, record("a", replays=1))
    assert counts(promptmill) == (1, 1, 0, 0, 0, True)


def test_outcomes_that_nobody_published_never_make_fewer_than_none_pending(
    promptmill: Promptmill, place: Place, tables: Tables
) -> None:
    tables.take(TableName.RECORDS, record("foreign 1"), record("foreign 2"))
    tables.take(TableName.REJECTS, reject("foreign 3"))
    assert counts(promptmill) == (3, 2, 1, 0, 0, True)
    place.send(PROMPTS, prompt("a"), prompt("b"))
    tables.take(TableName.RECORDS, record("a"))
    assert counts(promptmill)[4] >= 0
    tables.take_prompts(place.read(PROMPTS))
    assert counts(promptmill) == (5, 3, 1, 0, 1, False)


def test_dead_letters_without_a_prompt_belong_to_no_run(
    promptmill: Promptmill, place: Place, tables: Tables
) -> None:
    place.send(PROMPTS, prompt("a"))
    place.send_bytes(PROMPTS, b"garbage")
    tables.take(TableName.DEAD_LETTERS, letter(None, offset=7))
    assert counts(promptmill) == (1, 0, 0, 0, 1, False)


def test_lag_counts_what_the_group_has_not_committed(promptmill: Promptmill, place: Place) -> None:
    place.send(PROMPTS, *(prompt(text) for text in "abc"))
    stages = promptmill("status", "--run", "test", "--json").json["stages"]
    assert {name: stage["lag"] for name, stage in stages.items()} == {
        "instruct": 3,
        "reward": 0,
        "filter": 0,
        "store": 3,
    }


def test_in_flight_and_rate_are_those_of_the_living_workers(
    promptmill: Promptmill, place: Place
) -> None:
    with Redis.from_url(place.stack.redis) as redis:
        for number in (1, 2):
            worker: dict[str, object] = {"stage": "reward", "id": f"w{number}", "rate": 1.5}
            worker |= {"in_flight": number, "held": "scored: too many" if number == 1 else ""}
            key = f"promptmill:{place.prefix}worker:w{number}"
            redis.set(key, orjson.dumps(worker), ex=60)
        stages = promptmill("status", "--run", "test", "--json").json["stages"]
    held = {"schema_versions": [0], "held": ["scored: too many"], "partitions": 0, "idle": []}
    held |= {"troubles": []}
    assert stages["reward"] == {"lag": 0, "workers": 2, "in_flight": 3, "rate": 3.0} | held
    none = {"schema_versions": [], "held": [], "partitions": 0, "idle": [], "troubles": []}
    assert stages["instruct"] == {"lag": 0, "workers": 0, "in_flight": 0, "rate": 0} | none


def test_workers_without_partitions_are_marked(promptmill: Promptmill, place: Place) -> None:
    workers = [
        {"id": "busy", "ready": True, "partitions": 4},
        {"id": "idle", "ready": True, "partitions": 0},
        {"id": "starting", "ready": False, "partitions": 0},
        {"id": "older", "ready": True},
    ]
    with Redis.from_url(place.stack.redis) as redis:
        for worker in workers:
            key = f"promptmill:{place.prefix}worker:{worker['id']}"
            redis.set(key, orjson.dumps({"stage": "reward"} | worker), ex=600)
        stage = promptmill("status", "--run", "test", "--json").json["stages"]["reward"]
        shown = promptmill("status", "--run", "test").out
    assert (stage["workers"], stage["partitions"], stage["idle"]) == (4, 4, ["idle"])
    row = next(line for line in shown.splitlines() if "│ reward" in line)
    assert [cell.strip() for cell in row.split("│")[3:5]] == ["4 (1 idle)", "4"]
    assert "reward has workers without a partition, which receive nothing: idle;" in shown


def test_topics_are_shown_with_their_lags_and_marks(
    promptmill: Promptmill, reader: LagReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PROMPTMILL_SCORED_HIGH_RECORDS", "100")
    reader.show(TopicLag("scored", records=120, bytes=2 * 2**20, tokens=5_000, seconds=30.0))
    topics = promptmill("status", "--run", "test", "--json").json["topics"]
    shown = promptmill("status", "--run", "test").out
    known = {"records": 120, "bytes": 2 * 2**20, "tokens": 5_000, "seconds": 30.0}
    marks = {"high_records": 100, "low_records": 50}
    assert topics["scored"] == topics["scored"] | known | marks
    assert topics["records"]["records"] is None, "nobody has measured it"
    row = next(line for line in shown.splitlines() if "scored" in line)
    assert [cell.strip() for cell in row.split("│")[1:5]] == ["scored", "120", "100", "50"]


def test_without_redis_the_counts_are_still_exact(
    promptmill: Promptmill, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PROMPTMILL_REDIS", "redis://127.0.0.1:1/0")
    place.send(PROMPTS, prompt("a"))
    assert counts(promptmill) == (1, 0, 0, 0, 1, False)
    stages = promptmill("status", "--run", "test", "--json").json["stages"]
    silent = ("workers", "in_flight", "rate", "schema_versions", "held", "partitions", "idle")
    away = dict.fromkeys((*silent, "troubles"))
    assert stages["instruct"] == {"lag": 1} | away


def test_wait_ends_at_once_when_all_is_settled(
    promptmill: Promptmill, place: Place, tables: Tables
) -> None:
    place.send(PROMPTS, prompt("a"))
    tables.take(TableName.RECORDS, record("a"))
    forever = str(10**6)  # the limit of the test would end it
    assert counts(promptmill, "--wait", forever)[-1] is True


def test_wait_ends_at_its_limit_with_code_4(promptmill: Promptmill, place: Place) -> None:
    place.send(PROMPTS, prompt("a"))
    done = promptmill("status", "--run", "test", "--json", "--wait", "1")
    assert (done.code, done.json["pending"]) == (4, 1)


def test_people_see_the_counts_and_the_stages(promptmill: Promptmill, place: Place) -> None:
    place.send(PROMPTS, prompt("a"))
    shown = promptmill("status", "--run", "test").out
    assert "not settled yet: 1 published, 0 accepted, 0 rejected, 0 dead, 1 pending" in shown
    assert all(stage in shown for stage in ("instruct", "reward", "filter", "store"))
    assert "promptmill publish" in promptmill("status", "--run", "nobody").out
