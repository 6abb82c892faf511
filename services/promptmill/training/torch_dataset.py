"""The stream as an ``IterableDataset`` of torch, for the workers of its data loaders."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from torch.utils.data import IterableDataset, get_worker_info

if TYPE_CHECKING:
    from promptmill.export.formats import Row
    from promptmill.training.position import StreamState
    from promptmill.training.stream import RecordStream


class TorchStream(IterableDataset):  # type: ignore[misc]
    """The rows of a stream; each worker of a data loader reads some of its shards.

    torchdata's ``StatefulDataLoader`` keeps the states of all workers, exact to the batch.
    """

    def __init__(self, rows: RecordStream) -> None:
        self._rows = rows
        self._part: RecordStream | None = None

    def __iter__(self) -> Iterator[Row]:
        return iter(self._own())

    def state_dict(self) -> StreamState:
        """Return the position of this worker, or of the whole stream without workers."""
        return self._own().state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Let the next pass begin at this position."""
        self._own().load_state_dict(state)

    def _own(self) -> RecordStream:
        worker = get_worker_info()
        if worker is None:
            return self._rows
        if self._part is None:
            self._part = self._rows.part(worker.id, worker.num_workers)
        return self._part
