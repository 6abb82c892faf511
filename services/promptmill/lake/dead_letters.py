"""The current dead letters, each with its latest state, from rows that never change."""

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
    """Yield dead letters with these columns, each once and in no order.

    Args:
        snapshot: a snapshot of the table ``dead_letters``.
        condition: a condition on any column but ``state``, which is the state at arrival.
        state: if given, only dead letters with this latest state.
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
    """Return the dead letters that are marked as sent again."""
    marks = snapshot.scan(["letter_id"], field("shard_offset") == NO_MESSAGE)
    return pa.concat_arrays(
        [pa.array([], pa.string()), *(pc.cast(m.column(0), pa.string()) for m in marks)]
    )


def _latest(batch: pa.RecordBatch, replayed: pa.Array) -> pa.RecordBatch:
    """Return the rows with their latest state according to the marks."""
    is_replayed = pc.is_in(batch.column("letter_id"), replayed)
    state = pc.if_else(is_replayed, pa.scalar(REPLAYED), batch.column("state"))
    return batch.set_column(batch.schema.get_field_index("state"), "state", state)
