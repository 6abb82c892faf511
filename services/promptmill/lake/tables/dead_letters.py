"""``dead_letters``: what a stage gave up on, with the bytes to send it again.

``topic``, ``partition`` and ``offset`` say where the original stands; ``shard`` and
``shard_offset`` where its dead letter stands.

Rows are never changed. That a letter was sent again is a further row with the same ``letter_id``,
the state ``replayed`` and ``shard_offset`` :data:`NO_MESSAGE`, a *mark*: its ``topic``,
``partition`` and ``offset`` say which message showed it. Whatever reads the table takes a letter
for replayed when its own row says so (tables of earlier versions) or any mark does;
:mod:`promptmill.lake.dead_letters` does it for readers here.
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
"""What shows that a letter was sent again."""

DEAD: Final = "dead"
REPLAYED: Final = "replayed"
UNDECODABLE: Final = "undecodable"
LAST_MS: Final = 9_000_000_000_000
"""In the year 2255."""

NO_MESSAGE: Final = -1
"""The ``shard_offset`` of a mark, which is no message's row."""

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
    """The letter's row, without provenance."""
    numbers = (letter.partition, letter.offset, letter.attempts, letter.replays)
    columns.check_fits("partition, offset, attempts or replays", *numbers)
    return vars(letter) | {"headers": letter.headers and columns.as_json(letter.headers)}


def letter_of(row: Mapping[str, Any]) -> DeadLetter:
    """The letter of a row, which may lack the columns that are newer than its table."""
    present = {name: value for name, value in row.items() if value is not None}
    if "headers" in present:
        present["headers"] = orjson.loads(present["headers"])
    return DeadLetter(**present)


def mark(letter_id: str, replays: int, source: Marking, delivery: Delivery) -> dict[str, Any]:
    """The row that says that a letter has been sent again, with provenance.

    Args:
        letter_id: of the letter.
        replays: of the letter.
        source: the message that shows it: the note of the replay, or what became of it.
        delivery: where that message stands.
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
    """A row for bytes on the dead-letter topic that are no dead letter: they end here."""
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
    """The time of a message, which its sender may have set to anything."""
    within = min(max(0, delivery.timestamp_ms), LAST_MS)
    return datetime.fromtimestamp(within / 1000, tz=UTC)
