"""A small store whose figures are known."""

from __future__ import annotations

from collections import defaultdict
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

from promptmill.lake.ports import TableName
from promptmill_schemas import Contract, Generator, Message, Record, Reject
from promptmill_schemas.ids import digest
from promptmill_schemas.reject import Check, Duplicate, FailedCandidate
from support.exports import BAD_SCORES, QUESTION, pair, sft
from support.store import AT, DeltaStore, batch, letter, prompt, reject, table_of

HOSTILE: Final = "<script>alert(1)</script> & \x1b[31mred"
"""An answer that attacks pages and terminals."""

OTHER_MODEL: Final = "other-model"


def fill(folder: Path, *contracts: Contract) -> None:
    """Store these in the tables under a new folder, all in shard 0."""
    sink = DeltaStore(folder).sink()
    sink.take_over([0])
    by_table: dict[TableName, list[Contract]] = defaultdict(list)
    for contract in contracts:
        by_table[table_of(contract)].append(contract)
    for name, found in by_table.items():
        rows = [(0, number, contract) for number, contract in enumerate(found)]
        sink.commit(name, batch(rows, {0: (None, len(rows))}, name))


def failed(original: Record, similarity: float, text: str = "It is 4.") -> Reject:
    """A prompt of which the only answer is a duplicate of a record."""
    reason = "duplicate_exact" if similarity == 1 else "duplicate_near"
    answer = FailedCandidate(
        index=0,
        text=text,
        finish_reason="stop",
        completion_tokens=7,
        scores=BAD_SCORES,
        reward=1.5,
        checks=(Check(name=reason),),
        duplicate=Duplicate(record_id=original.record_id, similarity=similarity),
    )
    update: dict[str, Any] = {
        "prompt_id": digest("prompt", text, similarity),
        "reason": reason,
        "messages": (Message(role="user", content=f"{QUESTION.content} {HOSTILE}"),),
        "candidates": (answer,),
        "tags": {"domain": "tests", "custom_id": text},
        "created_at": AT + timedelta(hours=3),
    }
    return reject("x").model_copy(update=update)


def two_runs(folder: Path) -> None:
    """Fill a store: 10 records of run ``test`` and 5 pairs of run ``other``, of another model.

    Run ``test`` also has an exact duplicate, two near ones, and a rejected, a dead and a pending
    prompt. Its accepted prompts were published; so was its pending one.
    """
    records = [sft(number=number, reward=float(number)) for number in range(10)]
    generator = Generator(engine="scripted", model=OTHER_MODEL, revision="2")
    pairs = [pair(number=n, run="other", generator=generator) for n in range(10, 15)]
    duplicates = [
        failed(records[0], 1.0),
        failed(records[1], 0.87, HOSTILE),
        failed(records[2], 0.93, "It is 4!"),
    ]
    decided = [each.prompt_id for each in records] + [each.prompt_id for each in duplicates]
    prompts = [prompt("x").model_copy(update={"prompt_id": each}) for each in decided]
    rest = (reject("no"), letter("dead", offset=3), prompt("pending"), prompt("no"), prompt("dead"))
    fill(folder, *records, *pairs, *duplicates, *prompts, *rest)
