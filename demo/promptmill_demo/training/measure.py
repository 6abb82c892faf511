"""The figures of the model card, measured on held-out tasks."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import numpy as np

from promptmill_demo.models.demo import NAMES
from promptmill_demo.tasks import Split, all_tasks, demo_tasks
from promptmill_demo.tasks.chance import seeded
from promptmill_demo.tasks.examples import PER_FAMILY
from promptmill_demo.training.evaluate import figures, grade_answers
from promptmill_demo.training.policy import kept_figures
from promptmill_demo.training.sampling import draw_answers

HELD_OUT: Final = 1_500
CANDIDATES: Final = 4


def measure(folder: Path, seed: int) -> dict[str, Any]:
    """Measure the two models in ``folder``.

    Returns:
        ``held_out``: accuracy, AUC and Pearson correlation of one answer to each held-out task;
        ``demo`` and ``demo_two``: the default filter's results for four and two answers to each
        prompt of the demo; ``parameters``: the sizes of the models.
    """
    from transformers import AutoTokenizer, LlamaForSequenceClassification, NemotronForCausalLM

    generator = NemotronForCausalLM.from_pretrained(folder / NAMES[0]).float().eval()
    grader = LlamaForSequenceClassification.from_pretrained(folder / NAMES[1]).float().eval()
    writes, reads = (AutoTokenizer.from_pretrained(folder / name) for name in NAMES)

    tasks = _balanced(seed)
    answers = draw_answers(generator, writes, tasks, seed)
    held_out = figures(tasks, answers, grade_answers(grader, reads, tasks, answers))

    prompts = demo_tasks(PER_FAMILY)
    rows = [draw_answers(generator, writes, prompts, seed + 1 + n) for n in range(CANDIDATES)]
    graded = np.stack([grade_answers(grader, reads, prompts, row) for row in rows], axis=1)
    drawn = list(zip(*rows, strict=True))
    return {
        "held_out": held_out,
        "demo": kept_figures(prompts, drawn, graded),
        "demo_two": kept_figures(prompts, [row[:2] for row in drawn], graded[:, :2]),
        "parameters": {
            name: sum(p.numel() for p in model.parameters())
            for name, model in zip(NAMES, (generator, grader), strict=True)
        },
    }


def _balanced(seed: int) -> list[Any]:
    """Return held-out tasks, the same number of each kind."""
    draws, kinds = seeded(seed), dict[str, list[Any]]()
    for task in all_tasks(Split.HELD_OUT):
        kinds.setdefault(task.kind.name, []).append(task)
    names = sorted(kinds)
    return [draws.choice(kinds[names[n % len(names)]]) for n in range(HELD_OUT)]
