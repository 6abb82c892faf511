"""Published decisions in the store's tables, read as narrow columns.

Content is known by its key, so the texts stay on disk. Only rows of an earlier version, which
have no key, and near-duplicates, whose sketches need the texts, are read whole.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from promptmill.core.gates.base import Claimed, RecordKey
from promptmill.core.gates.decisions import Decisions, Digests
from promptmill.core.sinks.delta.reader import Snapshot
from promptmill.filter.content import record_key
from promptmill_schemas import Message

BLOCK_ROWS: Final = 500_000
"""Rows of one block: about 150 MB while it is sorted and packed."""

_HEAD: Final = ("prompt_id", "decision_id", "policy_version", "replays")
_KEYS: Final = (*_HEAD, "record_id", "content_key")
_TEXTS: Final = (*_HEAD, "record_id", "kind", "messages", "chosen", "rejected")
_ABSENT: Final = 255

_NIBBLES = np.full(256, _ABSENT, np.uint8)
_NIBBLES[np.frombuffer(b"0123456789abcdef", np.uint8)] = np.arange(16, dtype=np.uint8)


def stored_records(snapshot: Snapshot, *, sketched: bool) -> Iterator[Decisions | list[Claimed]]:
    """All accepted records; blocks, and lists where texts are needed."""
    known = "content_key" in snapshot.schema.names and not sketched
    has_key = pc.field("content_key").is_valid()
    if known:
        yield from map(_records, _blocks(snapshot, _KEYS, has_key))
    for rows in snapshot.scan(_TEXTS, ~has_key if known else None):
        yield [_from_texts(row, sketched=sketched) for row in rows.to_pylist()]


def stored_rejects(snapshot: Snapshot) -> Iterator[Decisions]:
    """All rejects."""
    yield from map(_decisions, _blocks(snapshot, _HEAD, None))


def _blocks(
    snapshot: Snapshot, columns: tuple[str, ...], condition: pc.Expression | None
) -> Iterator[pa.Table]:
    batches: list[pa.RecordBatch] = []
    for batch in snapshot.scan(columns, condition):
        batches.append(batch)
        if sum(each.num_rows for each in batches) >= BLOCK_ROWS:
            yield pa.Table.from_batches(batches)
            batches = []
    if sum(each.num_rows for each in batches):
        yield pa.Table.from_batches(batches)


def _records(rows: pa.Table) -> Decisions:
    return _decisions(rows, (_digests(rows, "record_id"), _digests(rows, "content_key")))


def _decisions(rows: pa.Table, records: tuple[Digests, Digests] | None = None) -> Decisions:
    policy = rows.column("policy_version").combine_chunks().dictionary_encode()
    if isinstance(policy, pa.ChunkedArray):
        policy = policy.combine_chunks()
    replays: NDArray[np.int64] = pc.fill_null(rows.column("replays"), 0).to_numpy()
    return Decisions(
        _digests(rows, "prompt_id"),
        _digests(rows, "decision_id"),
        tuple(policy.dictionary.to_pylist()),
        policy.indices.to_numpy().astype(np.intp),
        replays,
        records,
    )


def _digests(rows: pa.Table, column: str) -> Digests:
    """A column of 32 hexadecimal digits as bytes.

    Raises:
        ValueError: a value is something else; another program wrote the table.
    """
    texts = rows.column(column).cast(pa.large_binary()).combine_chunks()
    _, offsets, data = texts.buffers()
    ends = np.frombuffer(offsets, np.int64)[texts.offset : texts.offset + len(texts) + 1]
    if not (np.diff(ends) == 32).all():
        raise ValueError(f"{column} holds a value that is not 32 hexadecimal digits")
    nibbles = _NIBBLES[np.frombuffer(data, np.uint8)[ends[0] : ends[-1]]].reshape(-1, 2)
    if (nibbles == _ABSENT).any():
        raise ValueError(f"{column} holds a value that is not 32 hexadecimal digits")
    packed: Digests = (nibbles[:, 0] * np.uint8(16) + nibbles[:, 1]).reshape(-1, 16)
    return packed


def _from_texts(row: dict[str, Any], *, sketched: bool) -> Claimed:
    kind, turns = row["kind"], [Message(**message) for message in row["messages"]]
    prompt = turns[:-1] if kind == "sft" else turns
    texts = (row["chosen"], row["rejected"])
    key: RecordKey = record_key(row["record_id"], kind, prompt, *texts, sketched=sketched)
    head = (row["prompt_id"], row["decision_id"], row["policy_version"])
    return Claimed(*head, (key,), row["replays"] or 0)
