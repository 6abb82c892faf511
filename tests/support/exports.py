"""Records of every shape that formats must get right, and tables that hold them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson

from promptmill.lake.ports import TableName
from promptmill_schemas import AttributeScores, GradedCandidate, Message, Record
from promptmill_schemas.ids import digest, record_id
from support.store import PARTITIONS, DeltaStore, batch, identities, record

SYSTEM = Message(role="system", content="Be brief.")
QUESTION = Message(role="user", content="What is 2 + 2?")
EARLIER = Message(role="assistant", content="Do you mean whole numbers?")
FURTHER = Message(role="user", content="Yes.\nPlease “quote” it. ✓")
GOOD = "It is 4."
BAD = "It is 5."
GOOD_SCORES = AttributeScores(
    helpfulness=3.6, correctness=4.4, coherence=3.5, complexity=1.2, verbosity=-0.3
)
BAD_SCORES = AttributeScores(
    helpfulness=1.0, correctness=0.2, coherence=3.0, complexity=1.0, verbosity=0.5
)
SINGLE = (QUESTION,)
WITH_SYSTEM = (SYSTEM, QUESTION)
MULTI_TURN = (SYSTEM, QUESTION, EARLIER, FURTHER)
CONVERSATIONS = {"single": SINGLE, "system": WITH_SYSTEM, "multi-turn": MULTI_TURN}
CANDIDATES = tuple(
    GradedCandidate(
        index=index,
        text=text,
        finish_reason="stop",
        completion_tokens=5,
        scores=scores,
        reward=reward,
    )
    for index, (text, scores, reward) in enumerate(
        ((GOOD, GOOD_SCORES, 5.2), (BAD, BAD_SCORES, 1.5), ("It is", None, None))
    )
)


def sft(messages: tuple[Message, ...] = SINGLE, number: int = 0, **fields: Any) -> Record:
    """An accepted answer to this conversation; ``number`` makes it another prompt's."""
    prompt_id = digest("prompt", str(number), [[m.role, m.content] for m in messages])
    return record("x").model_copy(
        update={
            "record_id": record_id(prompt_id, "sft", GOOD),
            "prompt_id": prompt_id,
            "messages": (*messages, Message(role="assistant", content=GOOD)),
            "chosen": GOOD,
            "scores": GOOD_SCORES,
            "reward": 5.2,
            "candidates": CANDIDATES,
            **fields,
        }
    )


def pair(messages: tuple[Message, ...] = SINGLE, number: int = 0, **fields: Any) -> Record:
    """A preference over two answers to this conversation."""
    found = sft(messages, number)
    return found.model_copy(
        update={
            "record_id": record_id(found.prompt_id, "preference", GOOD),
            "kind": "preference",
            "messages": messages,
            "rejected": BAD,
            "rejected_scores": BAD_SCORES,
            "rejected_reward": 1.5,
            "margin": 3.7,
            **fields,
        }
    )


class Records:
    """A table of records on disk, filled as the store fills it."""

    def __init__(self, folder: Path, partitions: int = PARTITIONS) -> None:
        self.uri = str(folder)
        self._sink = DeltaStore(folder).sink(identities(partitions=partitions))
        self._sink.take_over(range(partitions))
        self._next: dict[int, int] = {}

    def add(self, *records: Record, shard: int = 0) -> None:
        """Commit these records."""
        expected = self._next.get(shard)
        start = expected or 0
        rows = [(shard, start + number, each) for number, each in enumerate(records)]
        end = self._next[shard] = start + len(records)
        self._sink.commit(TableName.RECORDS, batch(rows, {shard: (expected, end)}))

    def compact(self) -> None:
        """Merge the files of the table."""
        self._sink.compact(TableName.RECORDS)


def lines(path: Path) -> list[dict[str, Any]]:
    """The rows of a file of JSON lines."""
    return [orjson.loads(line) for line in path.read_bytes().splitlines()]
