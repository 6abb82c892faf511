"""``dead_letters``: what a stage gave up on, with the bytes to send it again.

``topic``, ``partition`` and ``offset`` say where the original stands; ``shard`` and
``shard_offset`` where its dead letter stands.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final

import pyarrow as pa

from promptmill.core.sinks.tables import columns
from promptmill.core.stream.ports import Delivery
from promptmill_schemas import DeadLetter, ids, topics
from promptmill_schemas.dead_letter import to_base64

DEAD: Final = "dead"
REPLAYED: Final = "replayed"
UNDECODABLE: Final = "undecodable"

SCHEMA = pa.schema(
    [
        columns.required("letter_id", columns.TEXT),
        columns.required("state", columns.TEXT),
        pa.field("prompt_id", columns.TEXT),
        pa.field("run", columns.TEXT),
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
        columns.required("created_at", columns.TIMESTAMP),
        *columns.PROVENANCE,
    ]
)


def row(letter: DeadLetter) -> dict[str, Any]:
    """The letter's row, without provenance."""
    numbers = (letter.partition, letter.offset, letter.attempts, letter.replays)
    columns.check_fits("partition, offset, attempts or replays", *numbers)
    return dict(vars(letter))


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
        "key": to_base64(delivery.key),
        "value": to_base64(delivery.value),
        "reason": UNDECODABLE,
        "detail": detail,
        "attempts": 1,
        "replays": 0,
        "created_at": datetime.fromtimestamp(delivery.timestamp_ms / 1000, tz=UTC),
    }
