"""The position of a stream, which is small, exact and independent of the number of readers.

Every record has a shard (the partition of its message) and an offset in it. A reader owns some
shards, and reads each in the order of the offsets. The next offset of each shard therefore defines
exactly which records were read, and any reader can continue from there.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple, TypedDict

from promptmill.runtime.errors import Misconfigured
from promptmill.training.staleness import Revisions

STATE_VERSION = 1


class Next(NamedTuple):
    """The next row of a shard.

    Attributes:
        offset: the offset of its record.
        done: the number of rows of this record that were delivered. A record has several rows in
            some formats, and with a weight above 1.
        delivered: the number of rows of the shard that were delivered so far.
    """

    offset: int
    done: int = 0
    delivered: int = 0


class StreamState(TypedDict):
    """The position of one reader, or of all of them after :func:`merge_states`, as plain JSON.

    Attributes:
        version: the version of this layout.
        table: the id that the table received at its creation.
        shards: the three numbers of :class:`Next`, by the number of the shard.
        revisions: the time of the first record of each revision of the generator, in ISO format.
    """

    version: int
    table: str
    shards: dict[str, list[int]]
    revisions: dict[str, str]


def merge_states(states: Iterable[Mapping[str, Any]]) -> StreamState:
    """Join the states of all readers, so that any number of readers can continue from there.

    Args:
        states: states of streams, or documents that contain them, such as the state of a
            ``StatefulDataLoader`` with a state for each of its workers.

    Raises:
        Misconfigured: there is no state, or two of them belong to different tables or have the
            same shard.
    """
    found = [state for each in states for state in _states_in(each)]
    if not found:
        raise Misconfigured("there is no state to merge; pass the state of every reader")
    merged = StreamState(version=STATE_VERSION, table=found[0]["table"], shards={}, revisions={})
    for state in found:
        check_state(state, merged["table"])
        if twice := merged["shards"].keys() & state["shards"].keys():
            raise Misconfigured(
                f"two states have the position of shard {min(twice, key=int)}; pass the state of "
                "each reader of one stream once"
            )
        merged["shards"].update(state["shards"])
        for revision, since in state["revisions"].items():
            known = merged["revisions"].get(revision, since)
            merged["revisions"][revision] = min(known, since, key=datetime.fromisoformat)
    return merged


def _states_in(document: Any) -> list[Mapping[str, Any]]:
    if isinstance(document, Mapping):
        if StreamState.__required_keys__ <= document.keys():
            return [document]
        document = list(document.values())
    if isinstance(document, list | tuple):
        return [state for each in document for state in _states_in(each)]
    return []


def check_state(state: Mapping[str, Any], table: str) -> None:
    """Check that a state belongs to this table.

    Raises:
        Misconfigured: it is another table's, or another version of promptmill wrote it.
    """
    if state.get("version") != STATE_VERSION:
        raise Misconfigured(
            f"the version of the stream's state is {state.get('version')!r}; this version of "
            f"promptmill reads version {STATE_VERSION}; start without a state"
        )
    if state["table"] != table:
        raise Misconfigured(
            f"the state belongs to table {state['table']}, but the store's table of records is "
            f"{table}; choose the store that the state was saved for, or start without a state"
        )


def positions_in(state: Mapping[str, Any], shards: Collection[int]) -> dict[int, Next]:
    """Return the positions of these shards.

    Raises:
        Misconfigured: the state lacks one of them.
    """
    if missing := [shard for shard in shards if str(shard) not in state["shards"]]:
        raise Misconfigured(
            f"the state has no position of shard {missing[0]}: the number of readers has changed; "
            "join the states of all earlier readers with merge_states first"
        )
    return {shard: Next(*state["shards"][str(shard)]) for shard in shards}


def own_shards(shards: Sequence[int], reader: int, readers: int) -> list[int]:
    """Return the shards of one reader; the shards are divided among all readers.

    Raises:
        Misconfigured: there are more readers than shards, or no reader of this number.
    """
    if not 0 <= reader < readers:
        raise Misconfigured(f"there is no reader {reader} of {readers}; count from 0")
    if readers > len(shards):
        raise Misconfigured(
            f"{readers} readers (ranks or workers) cannot share {len(shards)} shards, the "
            f"partitions of the topic records that this process has; use at most {len(shards)} "
            "readers, or create the data set with more partitions"
        )
    return list(shards[reader::readers])


class Cursor:
    """The progress of one pass over a stream.

    Args:
        positions: the positions at which it begins, by shard.
        revisions: the generator's revisions so far.
    """

    def __init__(self, positions: Mapping[int, Next], revisions: Revisions) -> None:
        self.positions = dict(positions)
        self.revisions = revisions

    @property
    def delivered(self) -> int:
        """The number of rows delivered so far, including earlier passes."""
        return sum(each.delivered for each in self.positions.values())

    def offsets(self) -> dict[int, int]:
        """Return the next offset of each shard."""
        return {shard: each.offset for shard, each in self.positions.items()}

    def done(self, shard: int, offset: int) -> int:
        """Return the number of rows of this record that are already delivered."""
        at = self.positions[shard]
        return at.done if at.offset == offset else 0

    def deliver(self, shard: int, offset: int, done: int, rows: int) -> None:
        """Record that another row is delivered, so that ``done`` of the record's ``rows`` are."""
        delivered = self.positions[shard].delivered + 1
        ended = done == rows
        self.positions[shard] = Next(offset + ended, 0 if ended else done, delivered)

    def skip_to(self, ends: Mapping[int, int]) -> None:
        """Record that the records before these offsets have no further rows."""
        for shard, end in ends.items():
            self.positions[shard] = Next(end, 0, self.positions[shard].delivered)
