"""Duplicates that the filter has found, exact and near, with examples."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from promptmill.lake.reader import Snapshot
from promptmill.report.scratch import Scratch

EXCERPT: Final = 600
"""The number of characters that an example shows of a text."""

EXACT: Final = 1.0


@dataclass(frozen=True, slots=True)
class Example:
    """A rejected answer, and the record that it duplicates.

    Attributes:
        prompt: the last turn of the user.
        answer: the answer that was rejected; long texts are cut.
        original: the text of the record; ``None`` if it is not in the table.
        similarity: the Jaccard similarity of the two; 1.0 for exact duplicates.
    """

    prompt_id: str
    record_id: str
    similarity: float
    prompt: str
    answer: str
    original: str | None


@dataclass(frozen=True, slots=True)
class Duplicates:
    """The duplicates among all answers.

    Attributes:
        exact, near: numbers of rejected answers that are duplicates of a record.
        stored: number of records with the same content as another record, which happens if runs
            were de-duplicated separately.
        similarities: numbers of near duplicates by similarity, rounded down to hundredths.
    """

    exact: int
    near: int
    stored: int
    similarities: dict[str, int]
    examples: tuple[Example, ...]


def duplicates(
    scratch: Scratch, rejects: Snapshot | None, records: Snapshot | None, examples: int
) -> Duplicates:
    """Count the duplicates, and read some of each kind as examples."""
    ((exact, near),) = scratch.rows(
        f"""SELECT count(*) FILTER (similarity >= {EXACT}), count(*) FILTER (similarity < {EXACT})
        FROM ({_FOUND})"""
    )
    ((stored,),) = scratch.rows(
        """SELECT coalesce(sum(number - 1), 0)::BIGINT FROM (
            SELECT count(*) AS number FROM records WHERE content IS NOT NULL
            GROUP BY content HAVING count(*) > 1)"""
    )
    similarities = scratch.rows(
        f"""SELECT format('{{:.2f}}', floor(similarity * 100) / 100) AS value, count(*)
        FROM ({_FOUND}) WHERE similarity < {EXACT} GROUP BY value ORDER BY value"""
    )
    places = [
        place
        for condition in (f"similarity >= {EXACT}", f"similarity < {EXACT}")
        for place in scratch.dicts(_PLACES.format(condition), [examples])
    ]
    found = tuple(_example(place, rejects, records) for place in places if rejects is not None)
    return Duplicates(exact, near, stored, dict(similarities), found)


_FOUND: Final = """
    SELECT shard, shard_offset, d.record_id, d.similarity
    FROM (SELECT shard, shard_offset, unnest(duplicates) AS d FROM rejects)
"""

_PLACES: Final = f"""
    SELECT found.*, original.shard AS original_shard, original.shard_offset AS original_offset
    FROM (SELECT * FROM ({_FOUND}) WHERE {{}}
        ORDER BY similarity, shard, shard_offset LIMIT ?) AS found
    LEFT JOIN records AS original ON original.record = found.record_id::UUID
"""


def _example(place: Mapping[str, Any], rejects: Snapshot, records: Snapshot | None) -> Example:
    row = _row(
        rejects, place["shard"], place["shard_offset"], "prompt_id", "messages", "candidates"
    )
    answer = next(
        each["text"]
        for each in row["candidates"]
        if each["duplicate"] and each["duplicate"]["record_id"] == place["record_id"]
    )
    original = None
    if records is not None and place["original_shard"] is not None:
        found = _row(records, place["original_shard"], place["original_offset"], "chosen")
        original = _excerpt(found["chosen"])
    asked = [turn["content"] for turn in row["messages"] if turn["role"] == "user"]
    return Example(
        row["prompt_id"],
        place["record_id"],
        round(place["similarity"], 4),
        _excerpt(asked[-1] if asked else ""),
        _excerpt(answer),
        original,
    )


def _row(snapshot: Snapshot, shard: int, offset: int, *columns: str) -> dict[str, Any]:
    """Return the row at this position of a table's topic."""
    return snapshot.rows_at([(shard, offset)], columns)[shard, offset]


def _excerpt(text: str) -> str:
    return text if len(text) <= EXCERPT else f"{text[:EXCERPT]}…"
