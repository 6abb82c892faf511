"""The index of a shard: its settled prompts, compact enough for millions of them.

It does no I/O. A prompt with one record takes about 37 bytes: 16 for its id, 8 for the decision,
5 for its state and 8 for the record. New entries are kept in a dictionary until there are enough
of them to be merged into the sorted arrays.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from promptmill.lake.ids import (
    ID_CHARACTERS,
    WORD_BITS,
    WORD_MASK,
    Words,
    high_word,
    in_order,
    key_of,
)
from promptmill.lake.ports import TableName

MIN_RECENT = 1024
RECENT_SHARE = 32
MAX_REPLAYS = 2**32 - 1


class State:
    """The state of a prompt as bits, several of which may be set; an enum is 10 times slower."""

    UNKNOWN: Final = 0
    PUBLISHED: Final = 1
    ACCEPTED: Final = 2
    REJECTED: Final = 4
    DEAD: Final = 8


class PromptState(NamedTuple):
    """The known state of one prompt.

    Attributes:
        state: bits of :class:`State`.
        decision: the first 64 bits of the decision's id, or 0.
        replays: the highest number of replays among its dead letters.
    """

    state: int = State.UNKNOWN
    decision: int = 0
    replays: int = 0

    @property
    def is_decided(self) -> bool:
        """Whether the filter's decision about the prompt is stored."""
        return self.state & (State.ACCEPTED | State.REJECTED) != 0

    @property
    def is_dead(self) -> bool:
        """Whether the prompt has a dead letter, whether or not it was sent again."""
        return self.state & State.DEAD != 0

    def joined(self, other: PromptState) -> PromptState:
        """Combine two states; their order does not matter."""
        return PromptState(
            self.state | other.state,
            max(self.decision, other.decision),
            max(self.replays, other.replays),
        )


UNKNOWN: Final = PromptState()


@dataclass(frozen=True, slots=True)
class Entries:
    """Prompt states as columns of equal length."""

    high: Words
    low: Words
    state: npt.NDArray[np.uint8]
    decision: Words
    replays: npt.NDArray[np.uint32]

    @classmethod
    def of(
        cls,
        high: Words,
        low: Words,
        state: int,
        decision: Words | None = None,
        replays: npt.NDArray[np.uint32] | None = None,
    ) -> Entries:
        """Create columns; those with one value for all rows take no memory."""
        size = len(high)
        return cls(
            high,
            low,
            np.broadcast_to(np.uint8(state), size),
            np.broadcast_to(np.uint64(0), size) if decision is None else decision,
            np.broadcast_to(np.uint32(0), size) if replays is None else replays,
        )

    @property
    def nbytes(self) -> int:
        """The size of all columns in bytes."""
        return sum(getattr(self, name).nbytes for name in self.__slots__)


class ShardCounts:
    """The number of prompts of each run in each table of a shard, and which numbers have changed.

    For dead letters, this is the number of prompts whose dead letter was not sent again.
    """

    def __init__(self) -> None:
        self._numbers: Counter[tuple[TableName, str]] = Counter()
        self._changed: set[tuple[TableName, str]] = set()

    def add(self, table: TableName, run: str | None, by: int = 1) -> None:
        """Add to the number of a run; messages without a run are not counted."""
        if run is not None:
            self._numbers[table, run] += by
            self._changed.add((table, run))

    def load(self, table: TableName, numbers: Mapping[str, int]) -> None:
        """Set the numbers that were counted from the table's rows."""
        self._numbers.update({(table, run): n for run, n in numbers.items()})

    def of(self, table: TableName) -> dict[str, int]:
        """Return the numbers of all runs in one table."""
        return {run: n for (name, run), n in self._numbers.items() if name == table}

    def take_changed(self) -> dict[tuple[TableName, str], int]:
        """Return the numbers that have changed since the last call."""
        changed, self._changed = self._changed, set()
        return {key: self._numbers[key] for key in changed}


class SettledIndex:
    """The settled prompts, stored records and prompt-less dead letters of one shard."""

    def __init__(self) -> None:
        none = np.empty(0, np.uint64)
        self._entries = Entries.of(none, none, State.UNKNOWN)
        self._high = self._entries.high.data
        self._loaded: list[Entries] = []
        self._loaded_records: list[Words] = []
        self._recent: dict[int, PromptState] = {}
        self._records = none
        self._record_words = self._records.data
        self._recent_records: set[int] = set()
        self._letters: set[int] = set()
        self._open: dict[int, int] = {}
        self._loaded_open: dict[int, int] = {}
        self._loaded_replayed: set[int] = set()
        self.counts = ShardCounts()

    def __len__(self) -> int:
        """The number of known prompts; one that is merged and recent counts twice until then."""
        return len(self._entries.high) + len(self._recent)

    @property
    def nbytes(self) -> int:
        """The size of the merged part in bytes."""
        return self._entries.nbytes + self._records.nbytes

    # Prompts

    def prompt_state(self, prompt_id: str) -> PromptState:
        """Return the known state of this prompt."""
        key = key_of(prompt_id)
        return self._recent.get(key) or self._merged(key)

    def note(
        self, prompt_id: str, state: int, *, decision_id: str | None = None, replays: int = 0
    ) -> None:
        """Add to the known state of a prompt."""
        key = key_of(prompt_id)
        decision = 0 if decision_id is None else high_word(decision_id)
        new = PromptState(state, decision, min(replays, MAX_REPLAYS))
        self._recent[key] = new.joined(self._recent.get(key) or self._merged(key))
        if len(self._recent) >= max(MIN_RECENT, len(self._entries.high) // RECENT_SHARE):
            self.merge()

    def _merged(self, key: int) -> PromptState:
        high, low = key >> WORD_BITS, key & WORD_MASK
        entries, words = self._entries, self._high
        at = bisect_left(words, high)
        while at < len(words) and words[at] == high:
            if entries.low[at] == low:
                return PromptState(
                    int(entries.state[at]),
                    int(entries.decision[at]),
                    int(entries.replays[at]),
                )
            at += 1
        return UNKNOWN

    # Records and letters

    def has_record(self, record_id: str) -> bool:
        """Whether this record is stored, by the first 64 bits of its id.

        It is only called for a prompt that the same decision has settled, so a false yes needs a
        collision with a sibling record: 1 in 1.8e19 for each stored record.
        """
        word = high_word(record_id)
        if word in self._recent_records:
            return True
        at = bisect_left(self._record_words, word)
        return at < len(self._record_words) and self._record_words[at] == word

    def add_record(self, record_id: str) -> None:
        """Add a stored record."""
        self._recent_records.add(high_word(record_id))
        if len(self._recent_records) >= max(MIN_RECENT, len(self._records) // RECENT_SHARE):
            self._merge_records()

    def has_letter(self, letter_id: str) -> bool:
        """Whether this dead letter, which holds no prompt, is stored."""
        return key_of(letter_id) in self._letters

    def add_letter(self, letter_id: str) -> None:
        """Add a stored dead letter."""
        self._letters.add(key_of(letter_id))

    def open_letter(self, letter_id: str, prompt_id: str | None = None) -> None:
        """Open a dead letter, the only open one of its prompt; it takes about 200 bytes."""
        self._open[key_of(prompt_id or letter_id)] = key_of(letter_id)

    @property
    def open_letters(self) -> Collection[int]:
        """Return the open dead letters as numbers."""
        return self._open.values()

    def letter_of(self, prompt_id: str) -> str | None:
        """Return the open dead letter of a prompt."""
        key = self._open.get(key_of(prompt_id))
        return None if key is None else f"{key:0{ID_CHARACTERS}x}"

    def close_letter(self, letter_id: str, prompt_id: str | None = None) -> bool:
        """Close a dead letter that was sent again; return ``False`` if it is not open."""
        subject = key_of(prompt_id or letter_id)
        if self._open.get(subject) != key_of(letter_id):
            return False
        del self._open[subject]
        return True

    # Bulk

    def load(self, entries: Entries, records: Words | None = None) -> None:
        """Add many entries; call :meth:`merge` after the last call."""
        self._loaded.append(entries)
        if records is not None:
            self._loaded_records.append(records)

    def load_letters(self, opened: Mapping[int, int], replayed: Collection[int]) -> None:
        """Add dead letters as numbers, in any order; call :meth:`merge` after the last call.

        Args:
            opened: the prompt of each open dead letter, or the dead letter if it has no prompt.
            replayed: dead letters that were sent again according to a row.
        """
        self._loaded_open |= opened
        self._loaded_replayed.update(replayed)

    def merge(self) -> None:
        """Merge all entries into the sorted arrays."""
        self._merge_letters()
        parts = [self._entries, *self._loaded, _as_entries(self._recent)]
        self._loaded, self._recent = [], {}
        self._entries = _reduced(
            Entries(*(np.concatenate([getattr(p, n) for p in parts]) for n in Entries.__slots__))
        )
        self._high = self._entries.high.data
        if self._loaded_records:
            self._merge_records()

    def _merge_letters(self) -> None:
        for letter, subject in self._loaded_open.items():
            if letter not in self._loaded_replayed:
                self._open[subject] = letter
        self._loaded_open, self._loaded_replayed = {}, set()

    def _merge_records(self) -> None:
        recent = np.fromiter(self._recent_records, np.uint64, len(self._recent_records))
        parts = [self._records, *self._loaded_records, recent]
        self._loaded_records, self._recent_records = [], set()
        self._records = np.sort(np.concatenate(parts))
        self._record_words = self._records.data


def _as_entries(states: dict[int, PromptState]) -> Entries:
    size, values = len(states), states.values()
    return Entries(
        np.fromiter((key >> WORD_BITS for key in states), np.uint64, size),
        np.fromiter((key & WORD_MASK for key in states), np.uint64, size),
        np.fromiter((value.state for value in values), np.uint8, size),
        np.fromiter((value.decision for value in values), np.uint64, size),
        np.fromiter((value.replays for value in values), np.uint32, size),
    )


def _reduced(entries: Entries) -> Entries:
    """Sort entries by id and combine those of the same prompt."""
    if len(entries.high) == 0:
        return entries
    order, high, low = in_order(entries.high, entries.low)
    differs = (high[1:] != high[:-1]) | (low[1:] != low[:-1])
    starts = np.flatnonzero(np.concatenate([[True], differs]))
    return Entries(
        high[starts],
        low[starts],
        np.bitwise_or.reduceat(entries.state[order], starts),
        np.maximum.reduceat(entries.decision[order], starts),
        np.maximum.reduceat(entries.replays[order], starts),
    )
