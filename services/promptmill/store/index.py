"""What a shard has already settled, small enough to hold for millions of prompts.

Pure: no I/O. About 37 bytes for a prompt with one record: 16 for its id, 8 for the decision,
5 for its state, 8 for the record. The newest entries lie in a dictionary until there are
enough of them to be merged into the sorted arrays.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from promptmill.lake.ids import ID_CHARACTERS, WORD_BITS, WORD_MASK, Words, high_word, key_of
from promptmill.lake.ports import TableName

MIN_RECENT = 1024
RECENT_SHARE = 32
MAX_REPLAYS = 2**32 - 1


class State:
    """What is known of a prompt, as bits of which several may be set (an enum costs 10 times)."""

    UNKNOWN: Final = 0
    PUBLISHED: Final = 1
    ACCEPTED: Final = 2
    REJECTED: Final = 4
    DEAD: Final = 8


class Settlement(NamedTuple):
    """What is known of one prompt.

    Attributes:
        state: bits of :class:`State`.
        decision: the first 64 bits of the decision's id; 0 when there is none.
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
        """Whether it has a dead letter, sent again or not."""
        return self.state & State.DEAD != 0

    def joined(self, other: Settlement) -> Settlement:
        """Both together; the order does not matter."""
        return Settlement(
            self.state | other.state,
            max(self.decision, other.decision),
            max(self.replays, other.replays),
        )


UNKNOWN: Final = Settlement()


@dataclass(frozen=True, slots=True)
class Entries:
    """Settlements as columns of equal length."""

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
        """Columns of which some are the same for all."""
        size = len(high)
        return cls(
            high,
            low,
            np.full(size, state, np.uint8),
            np.zeros(size, np.uint64) if decision is None else decision,
            np.zeros(size, np.uint32) if replays is None else replays,
        )

    @property
    def nbytes(self) -> int:
        """Bytes of all columns."""
        return sum(getattr(self, name).nbytes for name in self.__slots__)


class RunCounts:
    """How many prompts of each run a shard has in each table, and which numbers have changed.

    Of dead letters, prompts with an open one: one that says dead and was not sent again.
    """

    def __init__(self) -> None:
        self._numbers: Counter[tuple[TableName, str]] = Counter()
        self._changed: set[tuple[TableName, str]] = set()

    def add(self, table: TableName, run: str | None, by: int = 1) -> None:
        """So many more; what has no run is not counted."""
        if run is not None:
            self._numbers[table, run] += by
            self._changed.add((table, run))

    def load(self, table: TableName, numbers: Mapping[str, int]) -> None:
        """What the table's rows say."""
        self._numbers.update({(table, run): n for run, n in numbers.items()})

    def of(self, table: TableName) -> dict[str, int]:
        """All runs of one table."""
        return {run: n for (name, run), n in self._numbers.items() if name == table}

    def take_changed(self) -> dict[tuple[TableName, str], int]:
        """The numbers that have changed since the last call."""
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
        self._recent: dict[int, Settlement] = {}
        self._records = none
        self._record_words = self._records.data
        self._recent_records: set[int] = set()
        self._letters: set[int] = set()
        self._open: dict[int, int] = {}
        self._loaded_open: dict[int, int] = {}
        self._loaded_replayed: set[int] = set()
        self.counts = RunCounts()

    def __len__(self) -> int:
        """Prompts known; those both merged and recent count once after the next merge."""
        return len(self._entries.high) + len(self._recent)

    @property
    def nbytes(self) -> int:
        """Bytes of the merged part."""
        return self._entries.nbytes + self._records.nbytes

    # Prompts

    def settlement(self, prompt_id: str) -> Settlement:
        """What is known of this prompt."""
        key = key_of(prompt_id)
        return self._recent.get(key) or self._merged(key)

    def note(
        self, prompt_id: str, state: int, *, decision_id: str | None = None, replays: int = 0
    ) -> None:
        """Add what has become known."""
        key = key_of(prompt_id)
        decision = 0 if decision_id is None else high_word(decision_id)
        new = Settlement(state, decision, min(replays, MAX_REPLAYS))
        self._recent[key] = new.joined(self._recent.get(key) or self._merged(key))
        if len(self._recent) >= max(MIN_RECENT, len(self._entries.high) // RECENT_SHARE):
            self.merge()

    def _merged(self, key: int) -> Settlement:
        high, low = key >> WORD_BITS, key & WORD_MASK
        entries, words = self._entries, self._high
        at = bisect_left(words, high)
        while at < len(words) and words[at] == high:
            if entries.low[at] == low:
                return Settlement(
                    int(entries.state[at]),
                    int(entries.decision[at]),
                    int(entries.replays[at]),
                )
            at += 1
        return UNKNOWN

    # Records and letters

    def has_record(self, record_id: str) -> bool:
        """Whether this record is stored, by the first 64 bits of its id.

        Asked only of a prompt that this decision has settled before, so that the chance of a
        false yes is that of a record with siblings: 1 in 1.8e19 for each stored record.
        """
        word = high_word(record_id)
        if word in self._recent_records:
            return True
        at = bisect_left(self._record_words, word)
        return at < len(self._record_words) and self._record_words[at] == word

    def add_record(self, record_id: str) -> None:
        """The record is stored."""
        self._recent_records.add(high_word(record_id))
        if len(self._recent_records) >= max(MIN_RECENT, len(self._records) // RECENT_SHARE):
            self._merge_records()

    def has_letter(self, letter_id: str) -> bool:
        """Whether this dead letter, of bytes that held no prompt, is stored."""
        return key_of(letter_id) in self._letters

    def add_letter(self, letter_id: str) -> None:
        """The letter is stored."""
        self._letters.add(key_of(letter_id))

    def open_letter(self, letter_id: str, prompt_id: str | None = None) -> None:
        """The letter says dead, as the only one of its prompt; about 200 bytes until it closes."""
        self._open[key_of(prompt_id or letter_id)] = key_of(letter_id)

    @property
    def open_letters(self) -> Collection[int]:
        """The letters that are open, as numbers."""
        return self._open.values()

    def letter_of(self, prompt_id: str) -> str | None:
        """The open letter of a prompt."""
        key = self._open.get(key_of(prompt_id))
        return None if key is None else f"{key:0{ID_CHARACTERS}x}"

    def close_letter(self, letter_id: str, prompt_id: str | None = None) -> bool:
        """The letter was sent again; ``False`` when it is not open."""
        subject = key_of(prompt_id or letter_id)
        if self._open.get(subject) != key_of(letter_id):
            return False
        del self._open[subject]
        return True

    # Bulk

    def load(self, entries: Entries, records: Words | None = None) -> None:
        """Add many; call :meth:`merge` after the last."""
        self._loaded.append(entries)
        if records is not None:
            self._loaded_records.append(records)

    def load_letters(self, opened: Mapping[int, int], replayed: Collection[int]) -> None:
        """Add letters, in any order, as numbers; call :meth:`merge` after the last.

        Args:
            opened: by letter, the prompt; the letter itself where it holds none.
            replayed: letters of which a row says that they were sent again.
        """
        self._loaded_open |= opened
        self._loaded_replayed.update(replayed)

    def merge(self) -> None:
        """Bring everything into the sorted arrays."""
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


def _as_entries(settlements: dict[int, Settlement]) -> Entries:
    size, values = len(settlements), settlements.values()
    return Entries(
        np.fromiter((key >> WORD_BITS for key in settlements), np.uint64, size),
        np.fromiter((key & WORD_MASK for key in settlements), np.uint64, size),
        np.fromiter((value.state for value in values), np.uint8, size),
        np.fromiter((value.decision for value in values), np.uint64, size),
        np.fromiter((value.replays for value in values), np.uint32, size),
    )


def _reduced(entries: Entries) -> Entries:
    """Sorted by id, what is said of one prompt in several places joined."""
    if len(entries.high) == 0:
        return entries
    order = _order(entries.high, entries.low)
    high, low = entries.high[order], entries.low[order]
    differs = (high[1:] != high[:-1]) | (low[1:] != low[:-1])
    starts = np.flatnonzero(np.concatenate([[True], differs]))
    return Entries(
        high[starts],
        low[starts],
        np.bitwise_or.reduceat(entries.state[order], starts),
        np.maximum.reduceat(entries.decision[order], starts),
        np.maximum.reduceat(entries.replays[order], starts),
    )


def _order(high: Words, low: Words) -> npt.NDArray[np.intp]:
    """The order by id. Sorting by one word is three times as fast, and nearly always enough."""
    order: npt.NDArray[np.intp] = np.argsort(high, kind="stable")
    by_high, by_low = high[order], low[order]
    if np.any((by_high[1:] == by_high[:-1]) & (by_low[1:] != by_low[:-1])):
        order = np.lexsort((low, high))
    return order
