"""Columns and structs that several tables share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson
import pyarrow as pa

from promptmill_schemas import (
    ATTRIBUTES,
    ContractError,
    FailedCandidate,
    Generator,
    GradedCandidate,
    Message,
    Record,
    Reject,
    Sampling,
    Scorer,
)

TEXT = pa.string()
INT = pa.int64()
REAL = pa.float64()
TIMESTAMP = pa.timestamp("us", tz="UTC")
JSON = TEXT
"""A JSON object as text, because some readers of training data do not support Parquet's maps."""

SCORES = pa.struct([(name, REAL) for name in ATTRIBUTES])
MESSAGES = pa.list_(pa.struct([("role", TEXT), ("content", TEXT)]))

GENERATOR = pa.struct(
    [
        ("engine", TEXT),
        ("model", TEXT),
        ("revision", TEXT),
        ("tensor_parallel", INT),
        ("template_digest", TEXT),
        ("adapter", TEXT),
    ]
)

SCORER = pa.struct(
    [
        ("engine", TEXT),
        ("model", TEXT),
        ("revision", TEXT),
        ("weights", SCORES),
        ("calibration", JSON),
    ]
)

PROVENANCE = [
    pa.field("shard", pa.int32(), nullable=False),
    pa.field("shard_offset", INT, nullable=False),
    pa.field("created_at", TIMESTAMP, nullable=False),
]
"""The partition and the offset of a row's message in the table's own topic, and its time.

They are among the first columns of each table, because the library reads only the statistics of the
first 32 columns, counting each field of a struct.
"""

ORIGIN = [
    pa.field("sampling", JSON),
    pa.field("tags", JSON),
    pa.field("generated_by", GENERATOR),
    pa.field("scorer", SCORER),
    pa.field("policy_version", TEXT, nullable=False),
    pa.field("replays", INT),
]
"""The origin of a decision; records and rejects have these columns."""

MAX_INT = 2**63 - 1


def required(name: str, kind: pa.DataType) -> pa.Field:
    """Return a column that is never null."""
    return pa.field(name, kind, nullable=False)


def check_fits(field: str, *values: int) -> None:
    """Check that integers, which contracts do not limit, fit into 63 bits.

    Raises:
        ContractError: one of the values is larger.
    """
    if (largest := max(values, default=0)) > MAX_INT:
        raise ContractError(field, largest, f"at most {MAX_INT}", "send a smaller number")


def messages(turns: tuple[Message, ...]) -> list[dict[str, Any]]:
    """Return a conversation in the form of :data:`MESSAGES`."""
    return [vars(turn) for turn in turns]


def sampling(settings: Sampling) -> str:
    """Return the parameters that differ from the defaults as JSON, as later versions add some."""
    return settings.model_dump_json(exclude_defaults=True)


def generator(source: Generator) -> dict[str, Any]:
    """Return a generator in the form of :data:`GENERATOR`."""
    check_fits("generator.tensor_parallel", source.tensor_parallel)
    return vars(source)


def as_json(mapping: Mapping[str, Any]) -> str:
    """Return a mapping in the form of :data:`JSON`."""
    return orjson.dumps(mapping).decode()


def scorer(grader: Scorer) -> dict[str, Any]:
    """Return a scorer in the form of :data:`SCORER`, with slopes and intercepts."""
    calibration = {
        name: {"slope": slope, "intercept": intercept}
        for name, (slope, intercept) in grader.calibration.items()
    }
    return vars(grader) | {
        "weights": vars(grader.weights),
        "calibration": as_json(calibration),
    }


def scorer_fields(stored: dict[str, Any]) -> dict[str, Any]:
    """Return the contract's fields of a scorer that :func:`scorer` converted."""
    calibration = orjson.loads(stored["calibration"] or "{}")
    lines = {name: (line["slope"], line["intercept"]) for name, line in calibration.items()}
    return stored | {"calibration": lines}


def candidate(graded: GradedCandidate | FailedCandidate) -> dict[str, Any]:
    """Return an answer, with its scores in the form of :data:`SCORES`."""
    check_fits(f"candidates.{graded.index}", graded.index, graded.completion_tokens)
    return vars(graded) | {"scores": None if graded.scores is None else vars(graded.scores)}


def origin(decision: Record | Reject) -> dict[str, Any]:
    """Return the columns of :data:`ORIGIN` whose form differs from that of the contract."""
    return {
        "sampling": sampling(decision.sampling),
        "tags": as_json(decision.tags),
        "generated_by": generator(decision.generator),
        "scorer": scorer(decision.scorer),
    }
