"""The topics, each with its contract, its key and its settings."""

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
    """A topic.

    Attributes:
        name: the name without a prefix.
        contract: the contract of its messages.
        key: gives the key of a message: the id of its prompt, so that everything about one prompt
            is in the partition of the same number on every topic.
        retention_ms: milliseconds for which Kafka keeps messages.
        max_message_bytes: the largest message that the broker accepts.
        partitions: the number of partitions with which the topic is created.
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
