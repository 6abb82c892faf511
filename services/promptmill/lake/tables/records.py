"""``records``: the training data, one row for each accepted record.

The table is partitioned by ``kind``, so readers of one kind open only its files.
"""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from promptmill.lake.tables import columns, flat, optional
from promptmill_schemas import Record, Sampling
from promptmill_schemas.base import parse_json
from promptmill_schemas.content import answers_of, content_digest, exact_turns, prompt_of

PARTITION_COLUMNS = ("kind",)

CONTENT_KEY = "content_key_2"
"""The column by which exact duplicates are found without the texts.

Its name contains the version of the key. In rows without it, which have a key of another version or
none, the key is computed from the texts.
"""

CANDIDATE = pa.struct(
    [
        ("index", columns.INT),
        ("text", columns.TEXT),
        ("finish_reason", columns.TEXT),
        ("completion_tokens", columns.INT),
        ("scores", columns.SCORES),
        ("reward", columns.REAL),
        ("disagreement", columns.REAL),
    ]
)

SCHEMA = pa.schema(
    [
        columns.required("record_id", columns.TEXT),
        columns.required("prompt_id", columns.TEXT),
        columns.required("decision_id", columns.TEXT),
        columns.required("run", columns.TEXT),
        columns.required("kind", columns.TEXT),
        *columns.PROVENANCE,
        columns.required("ordinal", columns.INT),
        *flat.COLUMNS,
        pa.field("messages", columns.MESSAGES),
        columns.required("chosen", columns.TEXT),
        pa.field("rejected", columns.TEXT),
        pa.field("scores", columns.SCORES),
        columns.required("reward", columns.REAL),
        pa.field("rejected_scores", columns.SCORES),
        pa.field("rejected_reward", columns.REAL),
        pa.field("margin", columns.REAL),
        pa.field("candidates", pa.list_(CANDIDATE)),
        *columns.ORIGIN,
        pa.field(CONTENT_KEY, columns.TEXT),
        *optional.OF_PROMPT,
        *optional.OF_PAIR,
        *optional.OF_ANSWERS,
    ]
)


def row(record: Record) -> dict[str, Any]:
    """Return the record's row, without provenance."""
    columns.check_fits("ordinal or replays", record.ordinal, record.replays)
    rejected = record.rejected_scores
    return vars(record) | {
        "messages": columns.messages(record.messages),
        "scores": vars(record.scores),
        "rejected_scores": None if rejected is None else vars(rejected),
        "candidates": [columns.candidate(answer) for answer in record.candidates],
        **columns.origin(record),
        **flat.flat(record),
        **optional.of_prompt(record),
        **optional.of_pair(record),
        **optional.of_answers(record.candidates),
        CONTENT_KEY: content_digest(
            record.kind, exact_turns(prompt_of(record), record.tools), answers_of(record)
        ),
    }


_COLUMN_OF = {"generator": "generated_by", "licence": "license"}
"""The columns of fields that have a different name in the table."""


def contract_columns(*, candidates: bool) -> tuple[str, ...]:
    """Return the columns that :func:`record` needs.

    Args:
        candidates: whether to read the other answers, which take most of the bytes.
    """
    fields = [name for name in Record.model_fields if candidates or name != "candidates"]
    named = [_COLUMN_OF.get(name, name) for name in fields]
    whole = ("messages_json", *(("candidate_extras",) if candidates else ()))
    return (*(name for name in named if name in SCHEMA.names), *whole)


def record(row: dict[str, Any]) -> Record:
    """Return the record of a row; columns that were not read have their default."""
    stored = {name: row.get(_COLUMN_OF.get(name, name)) for name in Record.model_fields}
    fields = {name: value for name, value in stored.items() if value is not None}
    fields |= optional.record_fields_of(row)
    fields["sampling"] = Sampling.model_validate_json(row["sampling"])
    fields["tags"] = parse_json((row["tags"] or "{}").encode())
    fields["scorer"] = columns.scorer_fields(row["scorer"])
    return Record.model_validate(fields)
