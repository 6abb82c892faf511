"""Answers of a trained generator, sampled at temperature 1."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from promptmill_demo.tasks import Task
from promptmill_demo.training.encoding import Encoder

if TYPE_CHECKING:
    from transformers import NemotronForCausalLM, PreTrainedTokenizerFast

BATCH = 128
MAX_NEW_TOKENS = 64


def draw_answers(
    model: NemotronForCausalLM,
    tokenizer: PreTrainedTokenizerFast,
    tasks: Sequence[Task],
    seed: int,
) -> list[str]:
    """Sample one answer to each task."""
    import torch

    torch.manual_seed(seed)
    encoder = Encoder(tokenizer)
    prompts = [encoder.prompt(task.prompt) for task in tasks]
    order = sorted(range(len(tasks)), key=lambda index: len(prompts[index]))
    answers = [""] * len(tasks)
    for at in range(0, len(order), BATCH):
        chosen = order[at : at + BATCH]
        drawn = _draw(model, tokenizer, [prompts[index] for index in chosen])
        for index, answer in zip(chosen, drawn, strict=True):
            answers[index] = answer
    return answers


def _draw(
    model: NemotronForCausalLM, tokenizer: PreTrainedTokenizerFast, prompts: list[list[int]]
) -> list[str]:
    import torch

    longest = max(map(len, prompts))
    ids = torch.full((len(prompts), longest), tokenizer.pad_token_id)
    mask = torch.zeros_like(ids)
    for row, prompt in enumerate(prompts):
        ids[row, longest - len(prompt) :] = torch.tensor(prompt)
        mask[row, longest - len(prompt) :] = 1
    with torch.no_grad():
        output = model.generate(
            input_ids=ids,
            attention_mask=mask,
            do_sample=True,
            temperature=1.0,
            top_k=0,
            max_new_tokens=MAX_NEW_TOKENS,
        )
    texts: list[str] = tokenizer.batch_decode(output[:, longest:], skip_special_tokens=True)
    return texts
