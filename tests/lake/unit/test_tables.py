"""Every contract has a row that its table holds without loss of what run counts need."""

from __future__ import annotations

import json
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings

from promptmill.cli.pending import rebuilt
from promptmill.lake.ports import TableName
from promptmill.lake.tables import TABLES, dead_letters, optional
from promptmill.lake.tables.optional import messages_of
from promptmill.lake.tables.records import record as record_of
from promptmill.stream.ports import Delivery, Partition
from promptmill_schemas import ContractError, DeadLetter, Message, Prompt, Record, Reject
from promptmill_schemas.base import parse_json
from support import contracts


def stored(table: TableName, contract: Any) -> dict[str, Any]:
    """The row of ``contract`` after a round trip through Arrow."""
    spec = TABLES[table]
    row = spec.row(contract) | {"shard": 3, "shard_offset": 41}
    (back,) = pa.Table.from_pylist([row], schema=spec.schema).to_pylist()
    assert list(back) == spec.schema.names
    assert (back["shard"], back["shard_offset"]) == (3, 41)
    return dict(back)


@settings(deadline=None)
@given(contracts.prompts())
def test_a_prompt_becomes_a_row_of_the_admissions(prompt: Prompt) -> None:
    back = stored(TableName.PROMPTS, prompt)
    assert back["prompt_id"] == prompt.prompt_id
    assert json.loads(back["tags"]) == prompt.tags
    assert back["created_at"] == prompt.created_at


@settings(deadline=None)
@given(contracts.prompts())
def test_a_prompt_can_be_rebuilt_whole_from_its_row(prompt: Prompt) -> None:
    again = rebuilt(stored(TableName.PROMPTS, prompt))
    assert again == prompt.model_copy(update={"replays": 0})


@settings(deadline=None)
@given(contracts.records())
def test_a_record_keeps_texts_scores_and_provenance(record: Record) -> None:
    back = stored(TableName.RECORDS, record)
    plain = record.model_dump(mode="python")
    for name in ("record_id", "prompt_id", "run", "kind", "chosen", "rejected", "reward", "margin"):
        assert back[name] == plain[name]
    assert back["generated_by"] == plain["generator"]
    for name in ("scores", "rejected_scores"):
        assert back[name] == plain[name]
    assert messages_of(back) == record.messages
    again = record_of(back)
    assert again.candidates == record.candidates
    assert again.rejected_tool_calls == record.rejected_tool_calls
    for name in ("tools", "chat_template_kwargs", "reference", "chosen_reasoning_content"):
        assert getattr(again, name) == getattr(record, name)
    assert back["scorer"]["weights"] == plain["scorer"]["weights"]
    assert [answer["disagreement"] for answer in back["candidates"]] == [
        answer.disagreement for answer in record.candidates
    ]


@settings(deadline=None)
@given(contracts.rejects())
def test_a_reject_keeps_every_failed_check(reject: Reject) -> None:
    back = stored(TableName.REJECTS, reject)
    checks = [answer["checks"] for answer in back["candidates"]]
    assert checks == [
        [check.model_dump() for check in answer.checks] for answer in reject.candidates
    ]
    assert [answer["disagreement"] for answer in back["candidates"]] == [
        answer.disagreement for answer in reject.candidates
    ]
    assert back["reason"] == reject.reason
    extras = parse_json((back["candidate_extras"] or "[]").encode())
    traces = [extra.get("reasoning_content") for extra in extras]
    assert traces in ([], [answer.reasoning_content for answer in reject.candidates])


def test_messages_without_optional_fields_leave_their_columns_null() -> None:
    asked = (Message(role="user", content="Why?"),)
    back = stored(TableName.PROMPTS, Prompt.create("run", asked))
    names = {field.name for field in optional.OF_PROMPT + optional.LABELS} | {"draw", "extra_body"}
    assert {back[name] for name in names} == {None}
    assert messages_of(back) == asked


@settings(deadline=None)
@given(contracts.dead_letters())
def test_a_dead_letter_keeps_the_bytes_of_the_original(letter: DeadLetter) -> None:
    back = stored(TableName.DEAD_LETTERS, letter)
    assert back["value"] == letter.value
    assert (back["topic"], back["partition"], back["offset"]) == (
        letter.topic,
        letter.partition,
        letter.offset,
    )
    letter_fields = {name: back[name] for name in back if name in DeadLetter.model_fields}
    assert dead_letters.letter_of(letter_fields) == letter


def test_bytes_that_are_no_dead_letter_keep_a_row() -> None:
    row = dead_letters.undecodable(Delivery(Partition("dead-letters", 2), 7, None, b"\xff"), "no")
    provenance = {"shard": 2, "shard_offset": 7}
    (back,) = pa.Table.from_pylist([row | provenance], schema=dead_letters.SCHEMA).to_pylist()
    assert (back["reason"], back["value"], back["prompt_id"]) == ("undecodable", "/w==", None)


@settings(deadline=None)
@given(contracts.records())
def test_a_number_that_no_column_holds_is_refused_with_its_name(record: Record) -> None:
    huge = record.model_copy(update={"replays": 2**63})
    with pytest.raises(ContractError, match="replays"):
        TABLES[TableName.RECORDS].row(huge)


@settings(deadline=None)
@given(contracts.dead_letters())
def test_a_size_that_no_column_holds_is_refused_with_its_name(letter: DeadLetter) -> None:
    huge = letter.model_copy(update={"original_size": 2**63})
    with pytest.raises(ContractError, match="original_size"):
        TABLES[TableName.DEAD_LETTERS].row(huge)
