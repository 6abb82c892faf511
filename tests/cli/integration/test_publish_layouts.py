"""Files as people have them, published on real Kafka: rows, receipts and counts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cli.integration.conftest import Place, Tables
from promptmill_schemas import Completion, Prompt, decode
from promptmill_schemas.topics import COMPLETIONS, PROMPTS
from support.commands import Promptmill

pytestmark = pytest.mark.real

QUESTION = {"role": "user", "content": "What is a fjord?"}
NULLS = dict.fromkeys(("name", "tool_calls", "tool_call_id", "reasoning_content"))
ULTRACHAT: list[dict[str, Any]] = [
    {
        "prompt": "Name three rivers.",
        "prompt_id": "0f0e0d0c0b0a09080706050403020100ffeeddccbbaa99887766554433221100",
        "messages": [
            {"role": "user", "content": "Name three rivers."},
            {"role": "assistant", "content": "Elbe, Po, Tagus."},
        ],
    },
    {
        "prompt": "Plan a lunch.",
        "prompt_id": "9c1c1a6b7a3de8f09e2d4c5b6a7f8e9d0c1b2a3948576e5d4c3b2a1908f7e6d5",
        "messages": [
            {"role": "user", "content": "Plan a lunch."},
            {"role": "assistant", "content": "Soup."},
            {"role": "user", "content": "Something cold."},
            {"role": "assistant", "content": "Salad."},
        ],
    },
]


def written(path: Path, *rows: Any) -> Path:
    path.write_bytes(b"\n".join(map(orjson.dumps, rows)))
    return path


def prompts_on_topic(place: Place) -> list[Prompt]:
    return [decode(Prompt, delivery.value) for delivery in place.read(PROMPTS)]


def test_rows_of_a_data_set_are_published_and_their_layout_is_told(
    promptmill: Promptmill, place: Place, tmp_path: Path
) -> None:
    file = written(tmp_path / "in", *ULTRACHAT)
    done = promptmill("publish", file, "--run", "r", "--json")
    assert (done.code, done.json["published"]) == (0, 2)
    assert done.err == "layout ultrachat (prompt, prompt_id, messages)\n"
    found = {p.messages[0].content: p for p in prompts_on_topic(place)}
    assert [len(found[row["prompt"]].messages) for row in ULTRACHAT] == [1, 3]
    assert {getattr(p.reference, "answer", None) for p in found.values()} == {
        *("Elbe, Po, Tagus.", "Salad.")
    }
    assert {p.tags["custom_id"] for p in found.values()} == {row["prompt_id"] for row in ULTRACHAT}
    cut = promptmill("publish", file, "--run", "cut", "--json", "--last-answer", "cut")
    assert cut.json["published"] == 2


def test_columns_that_are_null_text_parts_and_developer_turns_are_taken(
    promptmill: Promptmill, place: Place, tmp_path: Path
) -> None:
    parts = [{"type": "text", "text": "What is a fjord?"}]
    rows = (
        {"messages": [{**QUESTION, **NULLS}]},
        {"custom_id": "b", "body": {"model": "m", "messages": [{**QUESTION, **NULLS}]}},
        {"messages": [{"role": "user", "content": parts}]},
        {"messages": [{"role": "developer", "content": "Be brief."}, QUESTION]},
        {"messages": [{"role": "system", "content": ""}, QUESTION]},
    )
    done = promptmill("publish", written(tmp_path / "in", *rows), "--run", "r", "--json")
    assert (done.code, done.json["published"] + done.json["duplicate"]) == (0, 5)
    assert done.json["invalid"] == 0
    assert {len(prompt.messages) for prompt in prompts_on_topic(place)} == {1, 2}


def test_columns_of_parquet_are_mapped_and_kept_as_tags(
    promptmill: Promptmill, place: Place, tmp_path: Path
) -> None:
    rows = [{"q": f"Question {n}?", "a": n, "level": None if n % 2 else 1.5} for n in range(150)]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "rows.parquet", row_group_size=40)
    arguments = ("publish", tmp_path / "rows.parquet", "--run", "r", "--json")
    refused = promptmill(*arguments)
    assert refused.code == 78
    assert "q, a" in refused.err
    assert len(refused.err.splitlines()) == 1
    mapped = ("--map", "prompt=q,reference=a", "--unknown-columns", "tags")
    receipts = tmp_path / "receipts"
    done = promptmill(*arguments, *mapped, "--receipts", receipts)
    assert (done.code, done.json["published"]) == (0, 150)
    assert promptmill(*arguments, *mapped).json["duplicate"] == 150
    found = prompts_on_topic(place)
    assert [prompt.tags for prompt in found].count({"level": "1.5"}) == 75
    assert {getattr(p.reference, "answer", None) for p in found} == {str(n) for n in range(150)}
    lines = [orjson.loads(line)["line"] for line in receipts.read_bytes().splitlines()]
    assert lines == list(range(1, 151))


def test_lines_that_ask_the_same_under_own_ids_are_draws(
    promptmill: Promptmill, place: Place, tables: Tables, tmp_path: Path
) -> None:
    def batch(number: int) -> dict[str, Any]:
        body = {"model": "m", "messages": [QUESTION], "metadata": {"rater": number}}
        return {"custom_id": f"draw-{number}", "method": "POST", "body": body}

    def publish(*numbers: int) -> tuple[int, int]:
        file = written(tmp_path / "in", *map(batch, numbers))
        done = promptmill("publish", file, "--run", "r", "--json")
        return done.json["published"], done.json["duplicate"]

    assert publish(0, 1, 2) == (3, 0)
    assert publish(2, 3, 0) == (1, 2)
    tables.take_prompts(place.read(PROMPTS))
    assert publish(4, 3, 2, 1, 0) == (1, 4)
    found = prompts_on_topic(place)
    assert {(p.tags["custom_id"], p.tags["rater"]) for p in found} == {
        (f"draw-{number}", str(number)) for number in range(5)
    }
    assert sorted(prompt.draw or 0 for prompt in found) == [0, 1, 2, 3, 4]


def test_answers_of_rows_go_to_be_graded_and_are_counted(
    promptmill: Promptmill, place: Place, tables: Tables, tmp_path: Path
) -> None:
    rows = [*ULTRACHAT, {"prompt": "Name a sea.", "answers": ["The Baltic.", "The Aral Sea."]}]
    file, receipts = written(tmp_path / "in", *rows), tmp_path / "receipts"
    arguments = ("publish", file, "--run", "r", "--json", "--answers", "--receipts", receipts)
    assert promptmill(*arguments).json["published"] == 3
    again = promptmill(*arguments)
    assert (again.code, again.json["published"], again.json["duplicate"]) == (0, 0, 3)
    sent = [decode(Completion, delivery.value) for delivery in place.read(COMPLETIONS)]
    assert sorted([c.text for c in each.candidates] for each in sent) == [
        ["Elbe, Po, Tagus."],
        ["Salad."],
        ["The Baltic.", "The Aral Sea."],
    ]
    prompts = {prompt.prompt_id: prompt for prompt in prompts_on_topic(place)}
    assert {each.prompt.prompt_id: each.prompt for each in sent} == prompts
    ids = [orjson.loads(line)["prompt_id"] for line in receipts.read_bytes().splitlines()]
    assert set(ids) == prompts.keys()
    places = {d.key: d.partition.number for d in place.read(PROMPTS)}
    assert {d.key: d.partition.number for d in place.read(COMPLETIONS)} == places
    status = promptmill("status", "--run", "r", "--json").json
    assert (status["published"], status["pending"]) == (3, 3)


def test_other_answers_to_the_same_prompt_are_draws(
    promptmill: Promptmill, place: Place, tmp_path: Path
) -> None:
    rows = [{"prompt": "Name a sea.", "answers": [text]} for text in ("Baltic", "Aral", "Baltic")]
    file = written(tmp_path / "in", *rows)
    for counts in ((2, 1), (0, 3)):
        done = promptmill("publish", file, "--run", "r", "--json", "--answers").json
        assert (done["published"], done["duplicate"]) == counts
    assert {prompt.draw for prompt in prompts_on_topic(place)} == {None, 1}


def test_the_errors_after_the_first_are_counted_by_kind(
    promptmill: Promptmill, tmp_path: Path
) -> None:
    bad = [{"prompt": "Why?", "n": 0, "sampling": {"temperature": 3}} for _ in range(30)]
    worse = [{"messages": [QUESTION, {"role": "user", "content": ""}]} for _ in range(5)]
    receipts = tmp_path / "receipts"
    file = written(tmp_path / "in", *bad, *worse)
    done = promptmill("publish", file, "--run", "r", "--json", "--receipts", receipts)
    assert (done.code, done.json["invalid"]) == (3, 35)
    lines = done.err.splitlines()
    assert len(lines) == 20 + 1 + 3
    assert lines[0].startswith("line 1: n is 0: ")
    assert "; also sampling.temperature is 3" in lines[0]
    assert lines[20] == "… and 15 more; --receipts lists all:"
    assert {line.split(":")[0].strip() for line in lines[21:]} == {
        *("10 × n", "10 × sampling.temperature", "5 × messages.*.content")
    }
    first = orjson.loads(receipts.read_bytes().splitlines()[0])
    assert [finding["field"] for finding in first["findings"]] == ["n", "sampling.temperature"]
