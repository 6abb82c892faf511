"""An untrained ``NemotronForCausalLM`` that generates the words of a text in random order."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from promptmill_demo.models.instruct import CONTEXT, HIDDEN, generation_config, instruct_config
from promptmill_demo.models.templates import INSTRUCT_TEMPLATE
from promptmill_demo.models.tokenizer import train_tokenizer

if TYPE_CHECKING:
    import torch
    from transformers import NemotronForCausalLM, PreTrainedTokenizerFast

MEAN_ANSWER_TOKENS = 48
LOGIT_SPREAD = 1.0
"""Standard deviation of the hidden state's contribution to a token's log-probability."""


def write_instruct_model(folder: Path, lines: list[str], seed: int) -> None:
    """Write config, weights and tokenizer into ``folder``; the same seed gives the same bytes."""
    import torch
    from transformers import NemotronForCausalLM

    tokenizer = train_tokenizer(lines, template=INSTRUCT_TEMPLATE, context=CONTEXT)
    config = instruct_config(tokenizer)
    model = NemotronForCausalLM(config).float()
    draws = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        _draw_weights(model, draws)
        _set_token_frequencies(model, _log_frequencies(tokenizer, lines), draws)
    model.generation_config = generation_config(config)
    model.to(torch.bfloat16).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def _draw_weights(model: NemotronForCausalLM, draws: torch.Generator) -> None:
    """Draw matrices that preserve the norm of their input; normalisation layers stay as is."""
    for parameter in model.parameters():
        if parameter.dim() == 2:
            parameter.normal_(0.0, parameter.shape[1] ** -0.5, generator=draws)


def _log_frequencies(tokenizer: PreTrainedTokenizerFast, lines: list[str]) -> torch.Tensor:
    """Return the log-frequency of each token; that of the end follows from the mean length."""
    import torch

    counts = torch.full((len(tokenizer),), 1e-3)
    tokens = [token for line in lines for token in tokenizer(line)["input_ids"]]
    counts += torch.bincount(torch.tensor(tokens), minlength=len(tokenizer))
    counts[tokenizer.eos_token_id] = len(tokens) / MEAN_ANSWER_TOKENS
    return (counts / counts.sum()).log()


def _set_token_frequencies(
    model: NemotronForCausalLM, log_frequencies: torch.Tensor, draws: torch.Generator
) -> None:
    """Make each logit the token's log-frequency plus noise from the hidden state.

    The output of the last normalisation has a mean of zero. A component of the output matrix
    along the all-ones vector therefore meets only the bias of that layer, which is set to ones.
    """
    model.model.norm.bias.fill_(1.0)
    head = model.lm_head.weight
    head.normal_(0.0, LOGIT_SPREAD * HIDDEN**-0.5, generator=draws)
    head -= head.mean(dim=1, keepdim=True)
    head += (log_frequencies / HIDDEN).unsqueeze(1)
