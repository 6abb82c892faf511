"""TRL's trainer on a stream, while the table grows."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from promptmill.training import stream
from promptmill_demo.feed_trl import train
from training.integration.growing import PARTITIONS, Growing

pytest.importorskip("trl", reason="trl is not among the locked packages; install trl 1.16")

pytestmark = [
    pytest.mark.real,
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.filterwarnings("ignore"),  # of the libraries' own making
]
MODEL = Path(__file__).parents[3] / "models" / "demo-instruct"
STEPS, BATCH = 4, 4


def test_the_demo_s_generator_is_trained_while_the_table_grows(tmp_path: Path) -> None:
    table, out = Growing(tmp_path / "store"), tmp_path / "trained"
    table.grow(1)
    # Eight records are two batches: the others come while the trainer waits for them.
    assert PARTITIONS < STEPS * BATCH
    later = threading.Timer(1.0, table.grow, args=(2,))
    later.start()
    rows = stream(table.uri, format="trl-sft")
    trained = train(rows, str(MODEL), str(out), max_steps=STEPS, batch=BATCH)
    later.join()
    assert trained.global_step == STEPS
    assert trained.training_loss > 0
    before, after = (folder / "model.safetensors" for folder in (MODEL, out))
    assert after.read_bytes() != before.read_bytes()
