"""The stream as a ``datasets.IterableDataset``, which the trainers of TRL and transformers take."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from datasets import DatasetInfo, Features, IterableDataset
from datasets.iterable_dataset import _BaseExamplesIterable  # of the library's own sources

if TYPE_CHECKING:
    from promptmill.export.formats import Row
    from promptmill.training.stream import RecordStream

STREAM = "stream"
"""The key of the stream's state in the library's state of a data set."""


def iterable_dataset(rows: RecordStream) -> Any:
    """Return the stream as a data set of the library."""
    features = Features.from_arrow_schema(rows.schema)
    return IterableDataset(StreamedRows(rows), info=DatasetInfo(features=features))


class StreamedRows(_BaseExamplesIterable):  # type: ignore[misc]
    """The rows of a stream, with its shards interleaved, because a shard may never end."""

    def __init__(self, rows: RecordStream) -> None:
        super().__init__()
        self._rows = rows
        self._state_dict: dict[str, Any] | None = None

    def __iter__(self) -> Iterator[tuple[int, Row]]:
        rows = self._rows.of(self._rows.shards)
        if self._state_dict and self._state_dict[STREAM]:
            rows.load_state_dict(self._state_dict[STREAM])
        for number, row in enumerate(rows):
            if self._state_dict:
                self._state_dict[STREAM] = rows.state_dict()
            yield number, row

    @property
    def num_shards(self) -> int:
        """The number of shards, which ranks and workers divide among themselves."""
        return len(self._rows.shards)

    def shuffle_data_sources(self, generator: Any) -> StreamedRows:  # noqa: ARG002
        """Return the same rows; the order of shards has no effect, because they are interleaved."""
        return self

    def shard_data_sources(self, num_shards: int, index: int, contiguous: bool = True) -> Any:
        """Return the rows of one of several parts."""
        chosen = self.split_shard_indices_by_worker(num_shards, index, contiguous=contiguous)
        return StreamedRows(self._rows.of([self._rows.shards[number] for number in chosen]))

    def reshard_data_sources(self) -> StreamedRows:
        """Return the same rows, because shards cannot be divided further."""
        return self

    def _init_state_dict(self) -> dict[str, Any]:
        self._state_dict = {STREAM: None}
        return self._state_dict
