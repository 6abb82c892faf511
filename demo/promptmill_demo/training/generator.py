"""Training of the generator, which learns to answer in many styles and to make mistakes."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random
from typing import TYPE_CHECKING, Any, Final

from promptmill_demo.models.instruct import generation_config, instruct_config
from promptmill_demo.tasks import Task
from promptmill_demo.tasks.answers import any_style, say, write
from promptmill_demo.tasks.chance import number, seeded
from promptmill_demo.training.encoding import Encoder, Example, TaskDraws, pools, tensors, text_loss
from promptmill_demo.training.optimise import TrainingSchedule, optimise

if TYPE_CHECKING:
    from transformers import NemotronForCausalLM, PreTrainedTokenizerFast

SKILLS: Final = (0.95, 0.95, 0.95, 0.9, 0.85, 0.8, 0.75, 0.65, 0.5, 0.35)
"""Shares of right answers in the training text; each fact has one of them."""

SHORT_SHARE: Final = {"facts": 0.85, "manner": 0.4}
"""Share of bare answers in each phase.

The other answers have all styles from the beginning, because tokens that first occur late make the
model forget facts.
"""


def train_generator(
    tokenizer: PreTrainedTokenizerFast, facts: TrainingSchedule, manner: TrainingSchedule, seed: int
) -> NemotronForCausalLM:
    """Train a generator in float32.

    Args:
        tokenizer: the generator's tokenizer.
        facts: schedule of the phase on right answers, mostly of a word or two.
        manner: schedule of the phase on answers in all styles, right and wrong.
        seed: seed of weights and examples.
    """
    import torch

    torch.manual_seed(seed)
    model = new_generator(tokenizer).train()
    draws, encoder = seeded(seed), Encoder(tokenizer)

    def loss_of(batch: list[Example]) -> Any:
        packed = tensors(batch, tokenizer.pad_token_id)
        states = model.model(packed["ids"], attention_mask=packed["mask"]).last_hidden_state
        return text_loss(states, model.lm_head, packed)

    for name, schedule in (("facts", facts), ("manner", manner)):
        examples = _examples(encoder, draws, SHORT_SHARE[name], errs=name == "manner")
        optimise(model, pools(examples, schedule.batch, draws), loss_of, schedule)
    model.generation_config = generation_config(model.config)
    return model.eval()


def new_generator(tokenizer: PreTrainedTokenizerFast) -> NemotronForCausalLM:
    """Return an untrained generator, initialised from torch's global seed."""
    from transformers import NemotronForCausalLM

    return NemotronForCausalLM(instruct_config(tokenizer)).float()


def skill(task: Task) -> float:
    """Return the share of right answers to this fact in the training text."""
    return SKILLS[
        number("skill", task.kind.name, task.fact.subject, task.fact.answer) % len(SKILLS)
    ]


def _examples(encoder: Encoder, draws: Random, short: float, *, errs: bool) -> Iterator[Example]:
    tasks = TaskDraws(draws)
    while True:
        task = tasks.one()
        answer = task.fact.answer
        if errs and draws.random() >= skill(task):
            answer = draws.choice(_misconceptions(task))
        terse = draws.random() < short
        said = say if terse else _in_any_style
        yield encoder.generated(task.prompt, said(task, answer, draws))


def _in_any_style(task: Task, answer: str, draws: Random) -> str:
    return write(task, answer, any_style(draws), draws)


def _misconceptions(task: Task) -> list[str]:
    """Return the two wrong answers that the generator learns for this fact."""
    mistakes = sorted(
        task.kind.mistakes(task.fact), key=lambda each: number("mistake", task.fact.subject, each)
    )
    return mistakes[:2]
