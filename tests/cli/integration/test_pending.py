"""Prompts without an outcome on real Kafka and Delta Lake: where they are, and sent again."""

from __future__ import annotations

import asyncio
from pathlib import Path

import orjson
import pytest

from cli.integration.conftest import Place, Tables
from promptmill.lake.ports import TableName
from promptmill.lake.tables import TABLES
from promptmill_schemas import DeadLetter, Prompt, decode
from promptmill_schemas.topics import COMPLETIONS, DEAD_LETTERS, PROMPTS
from support.commands import Promptmill
from support.lost_prompts import consume_in_vain, delete_log
from support.store import record

pytestmark = pytest.mark.real
RUN = "run"  # of support.store's contracts too


def publish(promptmill: Promptmill, place: Place, tables: Tables, tmp_path: Path) -> list[Prompt]:
    """Three prompts, on the topic and in the table."""
    file = tmp_path / "prompts.jsonl"
    lines = [{"prompt": text, "n": 2, "tags": {"text": text}} for text in "abc"]
    file.write_bytes(b"\n".join(map(orjson.dumps, lines)))
    assert promptmill("publish", file, "--run", RUN, "--temperature", "0.5").code == 0
    published = place.read(PROMPTS)
    tables.take_prompts(published)
    return [decode(Prompt, delivery.value) for delivery in published]


def lose(place: Place) -> None:
    """Instruct workers take all prompts and produce nothing; retention deletes the topic."""
    group, topic = f"{place.prefix}promptmill.instruct", place.topic(PROMPTS)
    asyncio.run(consume_in_vain(place.stack.kafka, group, topic))
    asyncio.run(delete_log(place.stack.kafka, topic))


def test_a_prompt_that_waits_on_a_topic_is_pending_and_not_lost(
    promptmill: Promptmill, place: Place, tables: Tables, tmp_path: Path
) -> None:
    publish(promptmill, place, tables, tmp_path)
    found = promptmill("pending", "--run", RUN, "--json").json
    assert (found["pending"], found["places"]) == (3, {"prompts": 3})
    dry = promptmill("requeue", "--run", RUN, "--dry-run", "--json").json
    assert (dry["lost"], dry["requeued"]) == (0, 0)


def test_a_prompt_further_on_or_settled_is_not_lost(
    promptmill: Promptmill, place: Place, tables: Tables, tmp_path: Path
) -> None:
    first, second, third = publish(promptmill, place, tables, tmp_path)
    lose(place)
    asyncio.run(place._send(place.topic(COMPLETIONS), [(first.prompt_id.encode(), b"{}")]))
    accepted = record("x").model_copy(update={"prompt_id": second.prompt_id, "run": RUN})
    tables.take(TableName.RECORDS, accepted)
    found = promptmill("pending", "--run", RUN, "--json").json
    places = {each["prompt_id"]: each["place"] for each in found["prompts"]}
    assert places == {first.prompt_id: "completions", third.prompt_id: "lost"}


def test_lost_prompts_are_sent_again_with_one_replay_more(
    promptmill: Promptmill, place: Place, tables: Tables, tmp_path: Path
) -> None:
    prompts = publish(promptmill, place, tables, tmp_path)
    lose(place)
    assert promptmill("pending", "--run", RUN, "--json").json["places"] == {"lost": 3}
    done = promptmill("requeue", "--run", RUN, "--yes", "--json")
    assert (done.code, done.json["lost"], done.json["requeued"]) == (0, 3, 3)

    again = [decode(Prompt, delivery.value) for delivery in place.read(PROMPTS)]
    expected = [prompt.model_copy(update={"replays": 1}) for prompt in prompts]
    assert sorted(again, key=lambda p: p.prompt_id) == sorted(expected, key=lambda p: p.prompt_id)
    letters = [decode(DeadLetter, delivery.value) for delivery in place.read(DEAD_LETTERS)]
    assert sorted(letter.state for letter in letters) == ["dead"] * 3 + ["replayed"] * 3
    assert {letter.reason for letter in letters} == {"lost"}
    assert promptmill("pending", "--run", RUN, "--json").json["places"] == {"prompts": 3}


def test_a_prompt_that_is_lost_twice_gets_a_higher_number_each_time(
    promptmill: Promptmill, place: Place, tables: Tables, tmp_path: Path
) -> None:
    publish(promptmill, place, tables, tmp_path)
    lose(place)
    promptmill("requeue", "--run", RUN, "--yes")
    notes = [decode(DeadLetter, delivery.value) for delivery in place.read(DEAD_LETTERS)]
    tables.take(TableName.DEAD_LETTERS, *(note for note in notes if note.state == "replayed"))
    lose(place)
    asyncio.run(delete_log(place.stack.kafka, place.topic(DEAD_LETTERS)))
    assert promptmill("requeue", "--run", RUN, "--yes", "--json").json["requeued"] == 3
    again = [decode(Prompt, delivery.value) for delivery in place.read(PROMPTS)]
    assert [prompt.replays for prompt in again] == [2, 2, 2]


def test_a_text_that_an_older_store_did_not_keep_comes_from_the_file(
    promptmill: Promptmill,
    place: Place,
    tables: Tables,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    spec, row = TABLES[TableName.PROMPTS], TABLES[TableName.PROMPTS].row
    object.__setattr__(spec, "row", lambda prompt: row(prompt) | {"messages": None})
    try:
        publish(promptmill, place, tables, tmp_path)
    finally:
        object.__setattr__(spec, "row", row)
    lose(place)
    done = promptmill("requeue", "--run", RUN, "--yes", "--json")
    assert (done.code, done.json["without_text"], done.json["requeued"]) == (3, 3, 0)
    done = promptmill("requeue", "--run", RUN, tmp_path / "prompts.jsonl", "--yes", "--json")
    assert (done.code, done.json["without_text"], done.json["requeued"]) == (0, 0, 3)
    again = [decode(Prompt, delivery.value) for delivery in place.read(PROMPTS)]
    assert {(p.n, p.sampling.temperature, p.tags["text"]) for p in again} == {
        (2, 0.5, text) for text in "abc"
    }


def test_requeue_asks_first(promptmill: Promptmill, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin.isatty", lambda: False)
    done = promptmill("requeue", "--run", RUN)
    assert done.code == 2
    assert "--yes" in done.err
