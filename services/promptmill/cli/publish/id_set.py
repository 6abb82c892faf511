"""Ids on disk: exact, and of the same memory whatever their number.

SQLite keeps the pages that are in use in memory and the others in an unnamed file in ``TMPDIR``,
which the system removes with the process: about 40 bytes an id. Nothing of it is meant to last,
so it is neither journalled nor synchronised.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from hashlib import blake2b
from typing import Final

CACHE_KIB: Final = 4_096
ID_BYTES: Final = 16


class IdSet:
    """A set of ids (32 hexadecimal digits); a call costs 5 to 20 µs."""

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
        """Put it in; ``False`` when it was there."""
        statement = "INSERT OR IGNORE INTO ids VALUES (?)"
        is_new = self._database.execute(statement, (_octets(identity),)).rowcount > 0
        self._size += is_new
        return is_new

    def update(self, ids: Iterable[str]) -> None:
        """Put all of them in."""
        statement = "INSERT OR IGNORE INTO ids VALUES (?)"
        added = self._database.executemany(statement, ((_octets(each),) for each in ids))
        self._size += max(0, added.rowcount)

    def discard(self, identity: str) -> None:
        """Take it out, if it is there."""
        gone = self._database.execute("DELETE FROM ids WHERE id = ?", (_octets(identity),))
        self._size -= gone.rowcount


class OwnIds:
    """Which prompt, at which line, a user's own id stands for."""

    def __init__(self) -> None:
        self._database = new_database("owners (own BLOB PRIMARY KEY, prompt BLOB, line INTEGER)")

    def claim(self, own: str, prompt_id: str, line: int) -> tuple[str, int]:
        """The first prompt that claimed this id, and its line."""
        # The text of an id may be long; its digest stands for it as ids stand for prompts.
        key = blake2b(own.encode(), digest_size=ID_BYTES).digest()
        row = (key, _octets(prompt_id), line)
        statement = "INSERT OR IGNORE INTO owners VALUES (?, ?, ?)"
        if self._database.execute(statement, row).rowcount > 0:
            return prompt_id, line
        query = "SELECT prompt, line FROM owners WHERE own = ?"
        owner, first = self._database.execute(query, (key,)).fetchone()
        return owner.hex(), first


def new_database(table: str) -> sqlite3.Connection:
    """An empty database with this table, in memory as far as it is used, otherwise on disk."""
    database = sqlite3.connect("", isolation_level=None, check_same_thread=False)
    for pragma in ("journal_mode=OFF", "synchronous=OFF", f"cache_size=-{CACHE_KIB}"):
        database.execute(f"PRAGMA {pragma}")
    database.execute(f"CREATE TABLE {table} WITHOUT ROWID")
    database.execute("BEGIN")  # one transaction for all: a commit each would cost more
    return database


def _octets(identity: str) -> bytes:
    return bytes.fromhex(identity)
