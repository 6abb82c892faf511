"""Reading the ids of a run's prompts from the rows of the tables.

The queries run in the store's library, which prunes and decodes on two threads, and needs neither
pyarrow nor its memory. Reading 10 million ids takes about one second of processor time.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from itertools import chain
from typing import Any

import orjson

from promptmill.cli.counts import CUSTOM_ID
from promptmill.lake.ports import TableName
from promptmill.lake.reader import DeltaReader

OPEN = (
    "state = 'dead' AND shard_offset <> -1 AND letter_id NOT IN "
    "(SELECT letter_id FROM stored WHERE shard_offset = -1)"
)
"""The condition for dead letters without a replay mark; see ``lake/tables/dead_letters.py``."""


class StoreRows:
    """The ids of prompts, each set from the latest version of its table.

    Ids are yielded in batches. If ``among`` is given, only ids that it contains are yielded.
    """

    def __init__(self, reader: DeltaReader) -> None:
        self._reader = reader

    def prompt_ids(self, run: str, among: Collection[str] | None = None) -> Iterator[list[str]]:
        """Yield the run's prompts that are in the table, in any order; some may occur twice."""
        return self._ids(TableName.PROMPTS, run, among)

    def own_ids(self, run: str) -> Iterator[tuple[str, str]]:
        """Yield the prompt id and the own id of each of the run's prompts that has an own id."""
        from pyarrow.dataset import field  # its import takes 60 MiB

        if (snapshot := self._reader.snapshot(TableName.PROMPTS)) is None:
            return
        for batch in snapshot.scan(["prompt_id", "tags"], field("run") == run):
            for prompt_id, tags in zip(*(c.to_pylist() for c in batch.columns), strict=True):
                if own := _tags(tags).get(CUSTOM_ID):
                    yield prompt_id, own

    def settled_ids(self, run: str, among: Collection[str] | None = None) -> Iterator[list[str]]:
        """Yield the run's prompts with an outcome; some may occur twice.

        Dead letters are read first, so that a prompt that is replayed and accepted in the meantime
        is found again among the accepted.
        """
        yield from self._dead(run, among)
        yield from self._ids(TableName.REJECTS, run, among)
        yield from self._ids(TableName.RECORDS, run, among)

    def outcomes(self, run: str) -> tuple[set[str], set[str], set[str]]:
        """Return the accepted, rejected and dead prompts as disjoint sets, in that order."""
        dead = set(chain.from_iterable(self._dead(run)))
        rejected = set(chain.from_iterable(self._ids(TableName.REJECTS, run)))
        accepted = set(chain.from_iterable(self._ids(TableName.RECORDS, run)))
        rejected -= accepted
        return accepted, rejected, dead - accepted - rejected

    def _dead(self, run: str, among: Collection[str] | None = None) -> Iterator[list[str]]:
        return self._ids(TableName.DEAD_LETTERS, run, among, OPEN)

    def _ids(
        self,
        table: TableName,
        run: str,
        among: Collection[str] | None = None,
        condition: str = "prompt_id IS NOT NULL",
    ) -> Iterator[list[str]]:
        snapshot = self._reader.snapshot(table)
        if snapshot is None or (among is not None and not among):
            return
        wanted = f"prompt_id IS NOT NULL AND run = {_quoted(run)} AND {condition}"
        if among is not None:
            wanted += f" AND prompt_id IN ({', '.join(map(_quoted, among))})"
        query = f"SELECT prompt_id FROM stored WHERE {wanted}"  # noqa: S608 - values are quoted
        yield from snapshot.texts(query)


def _tags(value: Any) -> dict[str, str]:
    """Return a row's tags, which are a map in tables of version 1, and JSON in later ones."""
    if value is None:
        return {}
    found: dict[str, str] = orjson.loads(value) if isinstance(value, str) else dict(value)
    return found


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
