"""When each message was stored, read from the Delta log's own files."""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from math import inf
from pathlib import Path

import orjson

from support.chaos.tables import TOPIC_OF

_APP = "promptmill/"


class CommitWatch:
    """Follows the commits of a store; what was cleaned from its log before it looked is unknown.

    Args:
        store: folder of the tables.
        prefix: of the topics.
    """

    def __init__(self, store: Path, prefix: str) -> None:
        self._store = store
        self._prefix = prefix
        self._known: set[Path] = set()
        self._positions: dict[tuple[str, int], list[int]] = defaultdict(list)
        self._times: dict[tuple[str, int], list[float]] = defaultdict(list)

    def look(self) -> None:
        """Take note of new commits."""
        for table in TOPIC_OF:
            files = (self._store / table / "_delta_log").glob("*.json")
            for file in sorted(set(files) - self._known):
                self._known.add(file)
                self._read(file)

    def _read(self, file: Path) -> None:
        try:
            at, lines = file.stat().st_mtime, file.read_bytes().splitlines()
        except FileNotFoundError:  # cleaned in the meantime
            return
        for line in lines:
            transaction = orjson.loads(line).get("txn", {})
            place = self._place(transaction.get("appId", ""))
            if place is not None:
                self._positions[place].append(transaction["version"])
                self._times[place].append(at)

    def _place(self, app: str) -> tuple[str, int] | None:
        name, _, number = app.removeprefix(_APP + self._prefix).rpartition("-")
        return (name, int(number)) if name in TOPIC_OF.values() and number.isdigit() else None

    def stored_at(self, topic: str, partition: int, offset: int) -> float:
        """Seconds since the epoch; infinite when it is not stored, as far as is known."""
        positions = self._positions[topic, partition]
        index = bisect_right(positions, offset)
        return self._times[topic, partition][index] if index < len(positions) else inf
