"""Exact sets of ids on disk, whose memory does not grow with their number.

SQLite keeps the pages in use in memory and the others in an unnamed file in ``TMPDIR``, which the
system removes with the process. An id takes about 40 bytes. The data is temporary, so it is neither
journalled nor synchronised.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from hashlib import blake2b
from typing import Final

CACHE_KIB: Final = 4_096
ID_BYTES: Final = 16


class IdSet:
    """A mutable set of ids (32 hexadecimal digits); a call takes 5 to 20 µs."""

    def __init__(self, ids: Iterable[str] = ()) -> None:
        self._database = new_database("ids (id BLOB PRIMARY KEY)")
        self._size = 0
        self.update(ids)

    def __len__(self) -> int:
        return self._size

    def __contains__(self, identity: str) -> bool:
        found = self._database.execute("SELECT 1 FROM ids WHERE id = ?", (_octets(identity),))
        return found.fetchone() is not None

    def __iter__(self) -> Iterator[str]:
        for (found,) in self._database.execute("SELECT id FROM ids"):
            yield found.hex()

    def add(self, identity: str) -> bool:
        """Add an id; return ``False`` if the set already contains it."""
        statement = "INSERT OR IGNORE INTO ids VALUES (?)"
        is_new = self._database.execute(statement, (_octets(identity),)).rowcount > 0
        self._size += is_new
        return is_new

    def update(self, ids: Iterable[str]) -> None:
        """Add all of these ids."""
        statement = "INSERT OR IGNORE INTO ids VALUES (?)"
        added = self._database.executemany(statement, ((_octets(each),) for each in ids))
        self._size += max(0, added.rowcount)

    def discard(self, identity: str) -> None:
        """Remove an id if the set contains it."""
        gone = self._database.execute("DELETE FROM ids WHERE id = ?", (_octets(identity),))
        self._size -= gone.rowcount


class OwnIds:
    """The prompt to which each of the user's own ids belongs, and the line of that prompt."""

    def __init__(self) -> None:
        self._database = new_database("owners (own BLOB PRIMARY KEY, prompt BLOB, line INTEGER)")

    def claim(self, own: str, prompt_id: str, line: int) -> tuple[str, int]:
        """Claim an id for a prompt; return the first prompt that claimed it, and its line."""
        # The text of an id may be long, so its digest is stored.
        key = blake2b(own.encode(), digest_size=ID_BYTES).digest()
        row = (key, _octets(prompt_id), line)
        statement = "INSERT OR IGNORE INTO owners VALUES (?, ?, ?)"
        if self._database.execute(statement, row).rowcount > 0:
            return prompt_id, line
        query = "SELECT prompt, line FROM owners WHERE own = ?"
        owner, first = self._database.execute(query, (key,)).fetchone()
        return owner.hex(), first


def new_database(table: str) -> sqlite3.Connection:
    """Create an empty database with this table; only pages in use are kept in memory."""
    database = sqlite3.connect("", isolation_level=None, check_same_thread=False)
    for pragma in ("journal_mode=OFF", "synchronous=OFF", f"cache_size=-{CACHE_KIB}"):
        database.execute(f"PRAGMA {pragma}")
    database.execute(f"CREATE TABLE {table} WITHOUT ROWID")
    # One transaction for everything, because single commits would be slower.
    database.execute("BEGIN")
    return database


def _octets(identity: str) -> bytes:
    return bytes.fromhex(identity)
