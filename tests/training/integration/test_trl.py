"""TRL's trainer on a stream, while the table grows."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from promptmill.training import stream
from training.integration.growing import PARTITIONS, Growing

trl = pytest.importorskip("trl", reason="trl is not among the locked packages; install trl 1.16")

pytestmark = [
    pytest.mark.real,
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.filterwarnings("ignore"),  # of the libraries' own making
]
MODEL = Path(__file__).parents[3] / "models" / "demo-instruct"


def test_the_demo_s_generator_is_trained_while_the_table_grows(tmp_path: Path) -> None:
    table = Growing(tmp_path / "store")
    table.grow(1)
    rows = stream(table.uri, format="trl-sft")
    settings = trl.SFTConfig(
        output_dir=str(tmp_path / "trained"),
        max_steps=4,
        per_device_train_batch_size=4,
        max_length=64,
        logging_steps=1,
        report_to="none",
        save_strategy="no",
        use_cpu=True,
    )
    trainer = trl.SFTTrainer(str(MODEL), args=settings, train_dataset=rows.dataset())
    # Eight records are two batches: the others come while the trainer waits for them.
    later = threading.Timer(1.0, table.grow, args=(2,))
    later.start()
    trained = trainer.train()
    later.join()
    assert trained.global_step == settings.max_steps
    assert settings.max_steps * settings.per_device_train_batch_size > PARTITIONS
    assert trained.training_loss > 0
