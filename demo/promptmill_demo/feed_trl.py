"""``python -m promptmill_demo.feed_trl``: train the demo's generator while the pipeline runs.

TRL's ``SFTTrainer`` takes each record a moment after the store has committed it, and waits while
there are too few. It needs ``pip install "trl>=1.16"``, but neither Kafka nor Redis, and may run on
another machine that sees the store.
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from promptmill.cli.settings import load
from promptmill.training import stream

if TYPE_CHECKING:
    from promptmill.training.stream import RecordStream

MODEL = "models/demo-instruct"
TOKENS = 256
"""Longer records are truncated."""


def main() -> None:
    """Train, and save the model."""
    arguments = _parse()
    store = arguments.store or load().store_uri
    rows = stream(store, format="trl-sft", run=arguments.run, where=arguments.where)
    trained = train(rows, arguments.model, arguments.out, max_steps=arguments.max_steps)
    print(f"{trained.global_step} steps, loss {trained.training_loss:.3f}, model: {arguments.out}")


def train(rows: RecordStream, model: str, out: str, *, max_steps: int, batch: int = 4) -> Any:
    """Train a model on the rows of a stream, and return what the trainer reports.

    Args:
        rows: in the format ``trl-sft``.
        model: the folder to begin with.
        out: the folder for the trained model.
        max_steps: where training ends, because a stream has no length.
        batch: rows of a step on each device.
    """
    import torch
    from trl import SFTConfig, SFTTrainer

    settings = SFTConfig(
        output_dir=out,
        max_steps=max_steps,
        per_device_train_batch_size=batch,
        max_length=TOKENS,
        logging_steps=1,
        report_to="none",
        use_cpu=not torch.cuda.is_available(),  # it is not taken by itself
        # Each process reads its own shards; otherwise the first one reads for all.
        accelerator_config={"dispatch_batches": False},
    )
    trainer = SFTTrainer(model, args=settings, train_dataset=rows.dataset())
    trained = trainer.train()
    trainer.save_model()
    return trained


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m promptmill_demo.feed_trl", description="Train while the pipeline runs."
    )
    parser.add_argument("--store", help="folder or URI, by default that of the commands")
    parser.add_argument("--run", help="only the records of this run")
    parser.add_argument("--where", help="only these records, as in: scores.helpfulness >= 3")
    parser.add_argument("--model", default=MODEL, help="folder of the model to begin with")
    parser.add_argument("--max-steps", type=int, default=100, help="where training ends")
    parser.add_argument("--out", default="trained", help="folder for the trained model")
    return parser.parse_args()


if __name__ == "__main__":
    main()
