"""The optimisation of both models."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

WARM_UP_STEPS = 60
REPORT_EVERY = 50
LARGEST_GRADIENT = 1.0


@dataclass(frozen=True, slots=True)
class TrainingSchedule:
    """The length and learning rate of a training.

    Attributes:
        steps: number of batches.
        batch: examples per batch.
        learning_rate: the peak learning rate.
    """

    steps: int
    batch: int = 32
    learning_rate: float = 1.6e-3


def optimise(
    model: Any, batches: Iterator[Any], loss_of: Callable[[Any], Any], schedule: TrainingSchedule
) -> None:
    """Optimise with AdamW, a linear warm-up and a cosine decay, and report the mean loss."""
    import torch

    decayed = [p for p in model.parameters() if p.dim() > 1]
    others = [p for p in model.parameters() if p.dim() <= 1]
    groups = [{"params": decayed, "weight_decay": 0.1}, {"params": others, "weight_decay": 0.0}]
    optimiser = torch.optim.AdamW(groups, lr=schedule.learning_rate, betas=(0.9, 0.98))
    scheduler = torch.optim.lr_scheduler.LambdaLR(
        optimiser, lambda step: _rate(step, schedule.steps)
    )
    begin, total = time.monotonic(), 0.0
    for step in range(1, schedule.steps + 1):
        loss = loss_of(next(batches))
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), LARGEST_GRADIENT)
        optimiser.step()
        scheduler.step()
        total += loss.item()
        if step % REPORT_EVERY == 0:
            _report(step, schedule.steps, total / REPORT_EVERY, time.monotonic() - begin)
            total = 0.0


def _rate(step: int, steps: int) -> float:
    if step < WARM_UP_STEPS:
        return (step + 1) / WARM_UP_STEPS
    return 0.02 + 0.49 * (1 + math.cos(math.pi * step / steps))


def _report(step: int, steps: int, loss: float, seconds: float) -> None:
    sys.stderr.write(f"  step {step:,} of {steps:,}: loss {loss:.3f} ({seconds:,.0f} s)\n")
    sys.stderr.flush()
