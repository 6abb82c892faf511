"""The only list of topics: each with its contract, its key and the settings it is made with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from promptmill_schemas.base import Contract
from promptmill_schemas.completion import Completion
from promptmill_schemas.dead_letter import DeadLetter
from promptmill_schemas.limits import MAX_DEAD_LETTER_BYTES, MAX_MESSAGE_BYTES
from promptmill_schemas.prompt import Prompt
from promptmill_schemas.record import Record
from promptmill_schemas.reject import Reject
from promptmill_schemas.scored import Scored

DAY_MS = 24 * 3600 * 1000
PARTITIONS = 12


@dataclass(frozen=True, slots=True)
class Topic:
    """A topic and what it carries.

    Attributes:
        key: the id by which a message is keyed (as text); the prompt's, so that all that
            belongs to one prompt stands in the partition of the same number in every topic.
        retention_ms: how long Kafka keeps what every group has long consumed.
        max_message_bytes: the largest message that the broker takes.
    """

    name: str
    contract: type[Contract]
    key: Callable[[Any], str]
    retention_ms: int
    max_message_bytes: int = MAX_MESSAGE_BYTES
    partitions: int = PARTITIONS


PROMPTS: Final = Topic("prompts", Prompt, lambda m: m.prompt_id, 14 * DAY_MS)
COMPLETIONS: Final = Topic("completions", Completion, lambda m: m.prompt.prompt_id, 14 * DAY_MS)
SCORED: Final = Topic("scored", Scored, lambda m: m.completion.prompt.prompt_id, 14 * DAY_MS)
RECORDS: Final = Topic("records", Record, lambda m: m.prompt_id, 14 * DAY_MS)
REJECTS: Final = Topic("rejects", Reject, lambda m: m.prompt_id, 14 * DAY_MS)
DEAD_LETTERS: Final = Topic(
    "dead-letters",
    DeadLetter,
    lambda m: m.prompt_id or m.letter_id,
    30 * DAY_MS,
    MAX_DEAD_LETTER_BYTES,
)

TOPICS: Final = (PROMPTS, COMPLETIONS, SCORED, RECORDS, REJECTS, DEAD_LETTERS)
BY_NAME: Final = {topic.name: topic for topic in TOPICS}
