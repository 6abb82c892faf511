"""Training of the grader, on answers with known faults and on the generator's answers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from random import Random
from typing import TYPE_CHECKING, Any, Final

from promptmill_demo.models.reward import reward_config
from promptmill_demo.tasks import Task, is_correct
from promptmill_demo.tasks.answers import say
from promptmill_demo.tasks.chance import seeded
from promptmill_demo.tasks.corruptions import Examples
from promptmill_demo.tasks.labels import label
from promptmill_demo.training.encoding import Encoder, Example, TaskDraws, pools, tensors, text_loss
from promptmill_demo.training.optimise import TrainingSchedule, optimise
from promptmill_schemas import ATTRIBUTES

if TYPE_CHECKING:
    from transformers import LlamaForSequenceClassification, PreTrainedTokenizerFast

TEXT_LOSS_SHARE: Final = 1.0
"""Weight of the language-model loss on right answers, which teaches facts faster than scores."""

SAMPLED_SHARE: Final = 0.4
"""Share of the generator's answers among the examples."""

LOSS_WEIGHTS: Final = (1.0, 1.0, 0.7, 0.5, 0.5)
"""Weights of the squared errors of the five attributes, in their order."""

RIGHT_FACTS: Final = 0.6
"""Share of right answers among the short answers from which facts are learned."""

SHORT_SHARE: Final = 0.85
"""Share of short answers among the answers from which facts are learned."""

Sampled = Sequence[tuple[Task, str]]


def learn_facts(
    tokenizer: PreTrainedTokenizerFast, schedule: TrainingSchedule, seed: int
) -> LlamaForSequenceClassification:
    """Train a grader in float32 to distinguish right from wrong answers of a word or two."""
    import torch

    torch.manual_seed(seed)
    draws = seeded(seed)
    model = new_grader(tokenizer)
    return _optimised(model, _facts(Encoder(tokenizer), draws), tokenizer, schedule, draws)


def learn_grading(
    model: LlamaForSequenceClassification,
    tokenizer: PreTrainedTokenizerFast,
    sampled: Sampled,
    schedule: TrainingSchedule,
    seed: int,
) -> LlamaForSequenceClassification:
    """Train the grader on answers of all kinds.

    Args:
        model: the grader after :func:`learn_facts`.
        tokenizer: the grader's tokenizer.
        sampled: the generator's answers to training tasks.
        schedule: length and learning rate of the training.
        seed: seed of the examples.
    """
    draws = seeded(seed)
    examples = _all_kinds(Encoder(tokenizer), sampled, draws)
    return _optimised(model, examples, tokenizer, schedule, draws)


def _optimised(
    model: LlamaForSequenceClassification,
    examples: Iterator[Example],
    tokenizer: PreTrainedTokenizerFast,
    schedule: TrainingSchedule,
    draws: Random,
) -> LlamaForSequenceClassification:
    import torch

    weights = torch.tensor(LOSS_WEIGHTS)

    def written(states: Any) -> Any:
        return states @ model.model.embed_tokens.weight.T

    def loss_of(batch: list[Example]) -> Any:
        packed = tensors(batch, tokenizer.pad_token_id)
        states = model.model(packed["ids"], attention_mask=packed["mask"]).last_hidden_state
        read = states[torch.arange(len(batch)), packed["last"]]
        errors = (model.score(read) - packed["scores"]) ** 2
        return (errors * weights).mean() + TEXT_LOSS_SHARE * text_loss(states, written, packed)

    optimise(model.train(), pools(examples, schedule.batch, draws), loss_of, schedule)
    return model.eval()


def new_grader(tokenizer: PreTrainedTokenizerFast) -> LlamaForSequenceClassification:
    """Return an untrained grader, initialised from torch's global seed."""
    from transformers import LlamaForSequenceClassification

    return LlamaForSequenceClassification(reward_config(tokenizer)).float()


def _facts(encoder: Encoder, draws: Random) -> Iterator[Example]:
    """Yield mostly short answers; the others introduce the tokens of the later phase."""
    tasks = TaskDraws(draws)
    made = Examples(tasks.tasks, draws)
    while True:
        task = tasks.one()
        short = draws.random() < SHORT_SHARE
        yield labelled(encoder, task, _short(task, draws) if short else made.answer(task))


def _all_kinds(encoder: Encoder, sampled: Sampled, draws: Random) -> Iterator[Example]:
    tasks = TaskDraws(draws)
    made = Examples(tasks.tasks, draws)
    while True:
        if draws.random() < SAMPLED_SHARE:
            task, answer = draws.choice(sampled)
        else:
            task = tasks.one()
            answer = made.answer(task)
        if answer.strip():
            yield labelled(encoder, task, answer)


def _short(task: Task, draws: Random) -> str:
    right = draws.random() < RIGHT_FACTS
    answer = task.fact.answer if right else draws.choice(task.kind.mistakes(task.fact))
    return say(task, answer, draws)


def labelled(encoder: Encoder, task: Task, answer: str) -> Example:
    """Return the example with the scores that follow from the ground truth."""
    scores = label(answer, task.tags)
    values = [getattr(scores, name) for name in ATTRIBUTES]
    return encoder.graded(task.prompt, answer, values, good=is_correct(answer, task.tags))
