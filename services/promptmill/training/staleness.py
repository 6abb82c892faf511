"""The staleness of records: how many revisions of the generator they are behind."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc


class Revisions:
    """The revisions of the generator in the order of their first records.

    Records whose generator has no revision are never stale.

    Args:
        since: the time of the first record of each revision, in ISO format.
        max_staleness: how many revisions a record may be behind the newest; ``None`` for any.
    """

    def __init__(self, since: Mapping[str, str], max_staleness: int | None) -> None:
        self._since = {name: datetime.fromisoformat(at) for name, at in since.items()}
        self._max = max_staleness
        self._stale = self._find_stale()

    def as_json(self) -> dict[str, str]:
        """Return the time of the first record of each revision, in ISO format."""
        return {name: at.isoformat() for name, at in self._since.items()}

    def add(self, rows: pa.Table) -> None:
        """Add the revisions of these rows of the table of records."""
        if self._max is None or not rows.num_rows:
            return
        found = pa.table(
            {
                "revision": pc.struct_field(rows["generated_by"], "revision"),
                "created_at": rows["created_at"],
            }
        )
        first = found.group_by("revision").aggregate([("created_at", "min")])
        for row in first.to_pylist():
            if name := row["revision"]:
                self._since[name] = min(
                    row["created_at_min"], self._since.get(name, row["created_at_min"])
                )
        self._stale = self._find_stale()

    def is_stale(self, row: Mapping[str, Any]) -> bool:
        """Return whether a row's revision is too far behind the newest one."""
        return (row["generated_by"] or {}).get("revision") in self._stale

    def _find_stale(self) -> frozenset[str]:
        if self._max is None:
            return frozenset()
        newest_first = sorted(self._since, key=lambda name: (self._since[name], name), reverse=True)
        return frozenset(newest_first[self._max + 1 :])
