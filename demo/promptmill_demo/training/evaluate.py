"""Evaluation of a generator and a grader on held-out tasks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from promptmill_demo.tasks import FAMILIES, Task, is_correct
from promptmill_demo.tasks.labels import label
from promptmill_demo.training.encoding import Encoder, tensors
from promptmill_schemas import ATTRIBUTES

if TYPE_CHECKING:
    from transformers import LlamaForSequenceClassification, PreTrainedTokenizerFast

Scores = NDArray[np.float64]
BATCH = 128


def grade_answers(
    model: LlamaForSequenceClassification,
    tokenizer: PreTrainedTokenizerFast,
    tasks: Sequence[Task],
    answers: Sequence[str],
) -> Scores:
    """Grade the answers, and return an array of answers × attributes."""
    import torch

    encoder, rows = Encoder(tokenizer), []
    for at in range(0, len(tasks), BATCH):
        pairs = zip(tasks[at : at + BATCH], answers[at : at + BATCH], strict=True)
        batch = [encoder.graded(t.prompt, a, [0.0] * 5, good=False) for t, a in pairs]
        packed = tensors(batch, tokenizer.pad_token_id)
        with torch.no_grad():
            states = model.model(packed["ids"], attention_mask=packed["mask"]).last_hidden_state
            read = states[torch.arange(len(batch)), packed["last"]]
            rows.append(model.score(read).float().numpy().astype(np.float64))
    return np.concatenate(rows)


def auc(scores: Scores, right: NDArray[np.bool_]) -> float | None:
    """Return the probability that a right answer scores above a wrong one, if both exist."""
    good, bad = scores[right], scores[~right]
    if not len(good) or not len(bad):
        return None
    above = (good[:, None] > bad[None, :]).mean() + 0.5 * (good[:, None] == bad[None, :]).mean()
    return float(above)


def figures(tasks: Sequence[Task], answers: Sequence[str], scores: Scores) -> dict[str, Any]:
    """Return accuracy, AUC and Pearson correlation of the scores, overall and by group."""
    right = np.array([is_correct(a, t.tags) for t, a in zip(tasks, answers, strict=True)])
    truth = _truth(tasks, answers)
    pearson = {
        name: float(np.corrcoef(scores[:, at], truth[:, at])[0, 1])
        for at, name in enumerate(ATTRIBUTES)
    }
    correctness = scores[:, ATTRIBUTES.index("correctness")]
    groups = {"families": [t.kind.family for t in tasks], "kinds": [t.kind.name for t in tasks]}
    return {
        "answers": len(tasks),
        "accuracy": float(right.mean()),
        "auc": auc(correctness, right),
        "pearson": pearson,
        **{name: _by(np.array(keys), right, correctness) for name, keys in groups.items()},
    }


def _truth(tasks: Sequence[Task], answers: Sequence[str]) -> Scores:
    labels = [label(answer, task.tags) for task, answer in zip(tasks, answers, strict=True)]
    return np.array([[getattr(each, name) for name in ATTRIBUTES] for each in labels])


def _by(keys: NDArray[np.str_], right: NDArray[np.bool_], scores: Scores) -> dict[str, Any]:
    names = [name for name in FAMILIES if name in keys] or sorted(set(keys.tolist()))
    return {
        name: {
            "accuracy": float(right[keys == name].mean()),
            "auc": auc(scores[keys == name], right[keys == name]),
        }
        for name in names
    }
