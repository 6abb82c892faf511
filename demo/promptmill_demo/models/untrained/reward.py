"""An untrained ``LlamaForSequenceClassification`` with the five attributes as labels."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from promptmill_demo.models.reward import CONTEXT, reward_config
from promptmill_demo.models.templates import REWARD_TEMPLATE
from promptmill_demo.models.tokenizer import train_tokenizer

if TYPE_CHECKING:
    import torch
    from transformers import LlamaForSequenceClassification, PreTrainedTokenizerFast

MEAN_SCORE = 2.0
SCORE_SPREAD = 0.8
"""Standard deviation of each score on the shipped text."""

_GAINS = {"q_proj": 2.0, "k_proj": 2.0, "v_proj": 2.0, "o_proj": 2.0}
"""Standard deviation of a matrix, in units of one over the square root of its columns."""


def write_reward_model(folder: Path, lines: list[str], seed: int) -> None:
    """Write config, weights and tokenizer into ``folder``; the same seed gives the same bytes."""
    import torch
    from transformers import LlamaForSequenceClassification

    tokenizer = train_tokenizer(lines, template=REWARD_TEMPLATE, context=CONTEXT)
    model = LlamaForSequenceClassification(reward_config(tokenizer)).float().eval()
    draws = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        _draw_weights(model, draws)
        _centre_scores(model, _last_states(model, tokenizer, lines))
    model.to(torch.bfloat16).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def _draw_weights(model: LlamaForSequenceClassification, draws: torch.Generator) -> None:
    """Draw weights with sharp attention, so that the last position distinguishes answers.

    Coordinate 0 of the residual stream is a constant that no layer reads or writes. It gives the
    score heads their mean.
    """
    for name, parameter in model.named_parameters():
        module = name.split(".")[-2]
        if parameter.dim() != 2:
            continue
        gain = _GAINS.get(module, 1.0)
        parameter.normal_(0.0, gain * parameter.shape[1] ** -0.5, generator=draws)
        if module in {"o_proj", "down_proj"}:
            parameter[0] = 0.0
        elif module != "embed_tokens":
            parameter[:, 0] = 0.0
    model.model.embed_tokens.weight[:, 0] = 1.0


def _last_states(
    model: LlamaForSequenceClassification, tokenizer: PreTrainedTokenizerFast, lines: list[str]
) -> torch.Tensor:
    """Return the hidden states at the last position, one row for each line as the answer."""
    import torch

    rows = []
    for line in lines:
        question, _, answer = line.partition("? ")
        messages = [{"role": "user", "content": question}]
        messages.append({"role": "assistant", "content": answer or line})
        ids = tokenizer.apply_chat_template(messages, return_tensors="pt", return_dict=True)
        rows.append(model.model(**ids).last_hidden_state[0, -1])
    return torch.stack(rows)


def _centre_scores(model: LlamaForSequenceClassification, states: torch.Tensor) -> None:
    """Scale each head to :data:`SCORE_SPREAD`, and shift it to :data:`MEAN_SCORE`."""
    head = model.score.weight
    head *= (SCORE_SPREAD / (states @ head.T).std(dim=0)).unsqueeze(1)
    head[:, 0] = (MEAN_SCORE - (states @ head.T).mean(dim=0)) / states[:, 0].mean()
