"""The tables of a store, each with its topic, its columns and the ids that the index needs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import pyarrow as pa

from promptmill.lake.ports import TableName
from promptmill.lake.tables import dead_letters, prompts, records, rejects
from promptmill_schemas import Topic, topics


@dataclass(frozen=True, slots=True)
class TableSpec:
    """A table and the source of its rows.

    Attributes:
        topic: the topic whose messages become its rows.
        id_columns: the run and the columns that decide whether a later message is new; they are
            read when a shard is taken over.
        row: converts a decoded message to a row, without provenance.
        partition_columns: the columns by which the table's files are separated.
    """

    name: TableName
    topic: Topic
    schema: pa.Schema
    id_columns: tuple[str, ...]
    row: Callable[[Any], dict[str, Any]]
    partition_columns: tuple[str, ...] = ()


TABLES: Final = {
    spec.name: spec
    for spec in (
        TableSpec(
            TableName.PROMPTS, topics.PROMPTS, prompts.SCHEMA, ("prompt_id", "run"), prompts.row
        ),
        TableSpec(
            TableName.RECORDS,
            topics.RECORDS,
            records.SCHEMA,
            ("prompt_id", "decision_id", "record_id", "run"),
            records.row,
            records.PARTITION_COLUMNS,
        ),
        TableSpec(
            TableName.REJECTS,
            topics.REJECTS,
            rejects.SCHEMA,
            ("prompt_id", "decision_id", "run"),
            rejects.row,
        ),
        TableSpec(
            TableName.DEAD_LETTERS,
            topics.DEAD_LETTERS,
            dead_letters.SCHEMA,
            ("prompt_id", "letter_id", "replays", "state", "run"),
            dead_letters.row,
        ),
    )
}
"""All tables by name."""
