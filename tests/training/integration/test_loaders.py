"""Streams in the data loaders of ``datasets`` and torch: the same rows, shared and resumable."""

from __future__ import annotations

from itertools import islice
from typing import Any

import orjson
import pytest

from promptmill.runtime.errors import Misconfigured
from promptmill.training import merge_states
from training.integration.growing import PARTITIONS, Growing, once

datasets = pytest.importorskip("datasets")
torch_data = pytest.importorskip("torch.utils.data", reason="torch comes with an engine's extra")

pytestmark = pytest.mark.real


def texts(rows: Any) -> list[str]:
    """The ids of rows, or of batches of them."""
    return [row["record_id"] for row in rows]


def same(batch: list[Any]) -> list[Any]:
    """A batch as it is; data loaders would make tensors of it."""
    return batch


def test_a_dataset_has_the_columns_and_each_pass_begins_at_the_same_row(table: Growing) -> None:
    rows = once(table, format="trl-sft").dataset()
    assert rows.column_names == ["messages"]
    assert rows.num_shards == PARTITIONS
    assert next(iter(rows)) == next(iter(rows))
    assert [turn["role"] for turn in next(iter(rows))["messages"]] == ["user", "assistant"]


@pytest.mark.parametrize("taken", [0, 1, 13, 40])
def test_the_state_of_a_dataset_continues_after_the_last_row(table: Growing, taken: int) -> None:
    rows = once(table).dataset().map(lambda row: {"size": len(row["chosen"])})
    head = texts(islice(rows, taken))
    saved = orjson.loads(orjson.dumps(rows.state_dict()))
    rows.load_state_dict(saved)
    assert sorted(head + texts(rows)) == table.ids


def test_nodes_share_the_shards_of_a_dataset(table: Growing) -> None:
    from datasets.distributed import split_dataset_by_node

    rows = once(table).dataset()
    nodes = [split_dataset_by_node(rows, rank=rank, world_size=2) for rank in range(2)]
    assert sorted(texts(nodes[0]) + texts(nodes[1])) == table.ids


@pytest.mark.parametrize("kind", ["dataset", "torch"])
def test_the_workers_of_a_data_loader_share_the_shards(table: Growing, kind: str) -> None:
    rows = getattr(once(table), kind)()
    loader = torch_data.DataLoader(
        rows, batch_size=3, num_workers=2, collate_fn=same, multiprocessing_context="spawn"
    )
    assert sorted(each for batch in loader for each in texts(batch)) == table.ids


def test_forked_workers_are_refused_with_the_remedy(table: Growing) -> None:
    loader = torch_data.DataLoader(
        once(table).torch(), num_workers=1, collate_fn=same, multiprocessing_context="fork"
    )
    with pytest.raises(Misconfigured, match="multiprocessing_context='spawn'"):
        next(iter(loader))


@pytest.mark.timeout(600)  # it starts four processes that import torch
@pytest.mark.filterwarnings("ignore:.*is deprecated, please do not call:UserWarning")
def test_a_stateful_data_loader_continues_with_other_workers(table: Growing) -> None:
    stateful = pytest.importorskip(
        "torchdata.stateful_dataloader", reason="torchdata is not among the locked packages"
    )

    def loader(rows: Any, workers: int) -> Any:
        return stateful.StatefulDataLoader(
            rows.torch(),
            batch_size=3,
            num_workers=workers,
            collate_fn=same,
            multiprocessing_context="spawn" if workers else None,
        )

    first = loader(once(table), 2)
    found = [each for batch in islice(first, 5) for each in texts(batch)]
    saved = first.state_dict()

    again = loader(once(table), 2)
    again.load_state_dict(saved)
    rest = [each for batch in again for each in texts(batch)]
    assert sorted(found + rest) == table.ids

    rows = once(table)
    rows.load_state_dict(merge_states([saved]))
    assert sorted(found + texts(rows)) == table.ids
