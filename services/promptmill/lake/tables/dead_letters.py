"""``dead_letters``: the messages that a stage could not process, with the bytes to replay them.

``topic``, ``partition`` and ``offset`` are the position of the original, and ``shard`` and
``shard_offset`` that of its dead letter.

Rows are never changed. A replay is recorded by a *replay mark*: another row with the same
``letter_id``, the state ``replayed`` and the ``shard_offset`` :data:`NO_MESSAGE`. Its ``topic``,
``partition`` and ``offset`` name the message that proves the replay. A dead letter counts as
replayed if its own row says so (in tables of earlier versions) or if it has a mark;
:mod:`promptmill.lake.dead_letters` implements this for readers.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final, TypeAlias

import orjson
import pyarrow as pa

from promptmill.lake.tables import columns
from promptmill.stream.ports import Delivery
from promptmill_schemas import DeadLetter, Record, Reject, ids, topics
from promptmill_schemas.dead_letter import original_fields

Marking: TypeAlias = DeadLetter | Record | Reject
"""A message that proves that a dead letter was replayed."""

DEAD: Final = "dead"
REPLAYED: Final = "replayed"
UNDECODABLE: Final = "undecodable"
LAST_MS: Final = 9_000_000_000_000
"""The latest timestamp, in the year 2255."""

NO_MESSAGE: Final = -1
"""The ``shard_offset`` of a replay mark, which is not the row of a message."""

_MARK_REASON: Final = "replayed"

SCHEMA = pa.schema(
    [
        columns.required("letter_id", columns.TEXT),
        columns.required("state", columns.TEXT),
        pa.field("prompt_id", columns.TEXT),
        pa.field("run", columns.TEXT),
        *columns.PROVENANCE,
        columns.required("stage", columns.TEXT),
        columns.required("topic", columns.TEXT),
        columns.required("partition", columns.INT),
        columns.required("offset", columns.INT),
        pa.field("key", columns.TEXT),
        pa.field("value", columns.TEXT),
        columns.required("reason", columns.TEXT),
        columns.required("detail", columns.TEXT),
        columns.required("attempts", columns.INT),
        columns.required("replays", columns.INT),
        pa.field("original_size", columns.INT),
        pa.field("original_digest", columns.TEXT),
        pa.field("headers", columns.JSON),
    ]
)


def row(letter: DeadLetter) -> dict[str, Any]:
    """Return the dead letter's row, without provenance."""
    numbers = (letter.partition, letter.offset, letter.attempts, letter.replays)
    columns.check_fits("partition, offset, attempts or replays", *numbers)
    columns.check_fits("original_size", letter.original_size or 0)
    return vars(letter) | {"headers": letter.headers and columns.as_json(letter.headers)}


def letter_of(row: Mapping[str, Any]) -> DeadLetter:
    """Return the dead letter of a row, which may lack columns that are newer than its table."""
    present = {name: value for name, value in row.items() if value is not None}
    if "headers" in present:
        present["headers"] = orjson.loads(present["headers"])
    return DeadLetter(**present)


def mark(letter_id: str, replays: int, source: Marking, delivery: Delivery) -> dict[str, Any]:
    """Return the replay mark of a dead letter, with provenance.

    Args:
        letter_id: the id of the dead letter.
        replays: the replays of the dead letter.
        source: the message that proves the replay: the replay notice, or a later outcome.
        delivery: the delivery of that message.
    """
    topic = next(topic for topic in topics.TOPICS if topic.contract is type(source))
    return {
        "letter_id": letter_id,
        "state": REPLAYED,
        "prompt_id": source.prompt_id,
        "run": source.run,
        "stage": "store",
        "topic": topic.name,
        "partition": delivery.partition.number,
        "offset": delivery.offset,
        "reason": _MARK_REASON,
        "detail": f"replayed, as a message on {topic.name} shows",
        "attempts": 1,
        "replays": replays,
        "created_at": _sent_at(delivery),
        "shard": delivery.partition.number,
        "shard_offset": NO_MESSAGE,
    }


def undecodable(delivery: Delivery, detail: str) -> dict[str, Any]:
    """Return a row for bytes on the dead-letter topic that are not a dead letter."""
    topic, number = topics.DEAD_LETTERS.name, delivery.partition.number
    return {
        "letter_id": ids.letter_id(topic, number, delivery.offset, 0),
        "state": DEAD,
        "stage": "store",
        "topic": topic,
        "partition": number,
        "offset": delivery.offset,
        **original_fields(delivery.key, delivery.value),
        "reason": UNDECODABLE,
        "detail": detail.encode(errors="backslashreplace").decode(),
        "attempts": 1,
        "replays": 0,
        "created_at": _sent_at(delivery),
    }


def _sent_at(delivery: Delivery) -> datetime:
    """Return the time of a message, which its sender may have set to any value."""
    within = min(max(0, delivery.timestamp_ms), LAST_MS)
    return datetime.fromtimestamp(within / 1000, tz=UTC)
