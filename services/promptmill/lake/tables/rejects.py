"""``rejects``: the prompts without an accepted answer, each with every failed check."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from promptmill.lake.tables import columns, optional
from promptmill_schemas import FailedCandidate, Reject

CHECK = pa.struct(
    [
        ("name", columns.TEXT),
        ("value", columns.REAL),
        ("limit", columns.REAL),
        ("margin", columns.REAL),
        ("detail", columns.TEXT),
    ]
)

CANDIDATE = pa.struct(
    [
        ("index", columns.INT),
        ("text", columns.TEXT),
        ("finish_reason", columns.TEXT),
        ("completion_tokens", columns.INT),
        ("scores", columns.SCORES),
        ("reward", columns.REAL),
        ("disagreement", columns.REAL),
        ("checks", pa.list_(CHECK)),
        ("duplicate", pa.struct([("record_id", columns.TEXT), ("similarity", columns.REAL)])),
    ]
)

SCHEMA = pa.schema(
    [
        columns.required("prompt_id", columns.TEXT),
        columns.required("decision_id", columns.TEXT),
        columns.required("run", columns.TEXT),
        *columns.PROVENANCE,
        columns.required("reason", columns.TEXT),
        columns.required("detail", columns.TEXT),
        pa.field("messages", columns.MESSAGES),
        pa.field("candidates", pa.list_(CANDIDATE)),
        *columns.ORIGIN,
        *optional.OF_PROMPT,
        *optional.LABELS,
        *optional.OF_ANSWERS,
    ]
)


def row(reject: Reject) -> dict[str, Any]:
    """Return the reject's row, without provenance."""
    columns.check_fits("replays", reject.replays)
    return vars(reject) | {
        "messages": columns.messages(reject.messages),
        "candidates": [_candidate(answer) for answer in reject.candidates],
        **columns.origin(reject),
        **optional.of_prompt(reject),
        **optional.of_answers(reject.candidates),
    }


def _candidate(answer: FailedCandidate) -> dict[str, Any]:
    return columns.candidate(answer) | {
        "checks": [vars(check) for check in answer.checks],
        "duplicate": None if answer.duplicate is None else vars(answer.duplicate),
    }
