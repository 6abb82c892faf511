"""The flat columns of records: for trainers that map string columns, and for published sets."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pyarrow as pa
import pytest

from promptmill.lake.table import TableSettings
from promptmill.lake.tables import TABLES
from promptmill.lake.tables.flat import as_text, flat
from promptmill_schemas import Message, Record
from support.store import record

READ_BY_THE_LIBRARY = 32


def asked(*turns: tuple[str, str], **changes: Any) -> Record:
    """An SFT record whose conversation is these turns and its answer."""
    known = record("x")
    messages = tuple(Message(role=role, content=text) for role, text in turns)
    answer = Message(role="assistant", content=known.chosen)
    return known.model_copy(update={"messages": (*messages, answer), **changes})


def test_a_single_question_is_the_prompt() -> None:
    row = flat(asked(("user", "Why?")))
    assert (row["prompt"], row["system"], row["response"]) == ("Why?", "", record("x").chosen)


def test_a_system_turn_has_its_own_column() -> None:
    row = flat(asked(("system", "Be brief."), ("user", "Why?")))
    assert (row["prompt"], row["system"]) == ("Why?", "Be brief.")


def test_no_turn_of_a_longer_conversation_is_lost() -> None:
    row = flat(asked(("user", "Why?"), ("assistant", "Because."), ("user", "And then?")))
    assert row["prompt"] == "User: Why?\n\nAssistant: Because.\n\nUser: And then?"


def test_a_pair_is_asked_by_all_of_its_messages() -> None:
    pair = asked().model_copy(
        update={"kind": "preference", "messages": (Message(role="user", content="Which?"),)}
    )
    assert flat(pair)["prompt"] == "Which?"


def test_the_columns_of_published_sets_come_from_the_record_and_its_tags() -> None:
    tags = {"license": "cc-by-4.0", "category": "math", "domain": "algebra", "version": "v1"}
    row = flat(asked(("user", "Why?"), tags=tags))
    assert row["uuid"] == str(UUID(record("x").record_id))
    assert (row["license"], row["category"], row["version"]) == ("cc-by-4.0", "math", "v1")
    assert (row["generator"], row["reasoning"]) == ("none", "off")


def test_columns_that_nothing_tells_are_null() -> None:
    row = flat(asked(("user", "Why?"), tags={}))
    assert (row["license"], row["category"], row["version"]) == (None, None, None)


def test_an_answer_that_begins_with_its_reasoning_says_so() -> None:
    assert flat(asked(("user", "Why?"), chosen="<think>So.</think>It is."))["reasoning"] == "on"


def test_no_turn_is_no_text() -> None:
    assert as_text([]) == ""


def leaves(name: str, kind: pa.DataType) -> list[str]:
    """The columns as the library counts them: each field of a struct is one."""
    if not pa.types.is_struct(kind):
        return [name]
    return [leaf for part in kind for leaf in leaves(f"{name}.{part.name}", part.type)]


@pytest.mark.parametrize("name", TABLES)
def test_the_library_reads_the_statistics_of_every_column_that_readers_skip_by(name: str) -> None:
    spec = next(spec for each, spec in TABLES.items() if each == name)
    counted = [leaf for column in spec.schema for leaf in leaves(column.name, column.type)]
    named = TableSettings().as_properties()["delta.dataSkippingStatsColumns"].split(",")
    assert set(named) <= set(counted[:READ_BY_THE_LIBRARY])
