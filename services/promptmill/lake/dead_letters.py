"""Dead letters as they are now: each with its latest state, from rows that are never changed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow.dataset import Expression, field

from promptmill.lake.reader import Snapshot
from promptmill.lake.tables.dead_letters import NO_MESSAGE, REPLAYED

_NEEDED = ("letter_id", "state")


def scan_letters(
    snapshot: Snapshot,
    columns: Sequence[str],
    condition: Expression | None = None,
    *,
    state: str | None = None,
) -> Iterator[pa.RecordBatch]:
    """Letters with these columns, each once and in no order.

    Args:
        snapshot: of the table ``dead_letters``.
        condition: on any column but ``state``, which is the state at the letter's arrival.
        state: only letters whose latest state is this one.
    """
    replayed = _replayed(snapshot)
    is_letter = field("shard_offset") != NO_MESSAGE
    wanted = is_letter if condition is None else is_letter & condition
    for batch in snapshot.scan(list(dict.fromkeys((*columns, *_NEEDED))), wanted):
        latest = _latest(batch, replayed)
        if state is not None:
            latest = latest.filter(pc.equal(latest.column("state"), state))
        yield latest.select(list(columns))


def _replayed(snapshot: Snapshot) -> pa.Array:
    """The letters that have a mark."""
    marks = snapshot.scan(["letter_id"], field("shard_offset") == NO_MESSAGE)
    return pa.concat_arrays(
        [pa.array([], pa.string()), *(pc.cast(m.column(0), pa.string()) for m in marks)]
    )


def _latest(batch: pa.RecordBatch, replayed: pa.Array) -> pa.RecordBatch:
    """The rows with the state that the marks give them."""
    is_replayed = pc.is_in(batch.column("letter_id"), replayed)
    state = pc.if_else(is_replayed, pa.scalar(REPLAYED), batch.column("state"))
    return batch.set_column(batch.schema.get_field_index("state"), "state", state)
