"""Training of the grader: on spoilt answers, and on what the generator really says."""

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
from promptmill_demo.training.optimise import Course, optimise
from promptmill_schemas import ATTRIBUTES

if TYPE_CHECKING:
    from transformers import LlamaForSequenceClassification, PreTrainedTokenizerFast

TEXT_LOSS_SHARE: Final = 1.0
"""Weight of the loss of writing right answers: it teaches the facts sooner than scores do."""

SAMPLED_SHARE: Final = 0.4
"""Of the examples that are answers of the generator."""

LOSS_WEIGHTS: Final = (1.0, 1.0, 0.7, 0.5, 0.5)
"""Of the squared errors of the five attributes, in their order."""

RIGHT_FACTS: Final = 0.6
"""Of the short answers from which the facts are learnt."""

SHORT_SHARE: Final = 0.85
"""Of the answers from which the facts are learnt."""

Sampled = Sequence[tuple[Task, str]]


def learn_facts(
    tokenizer: PreTrainedTokenizerFast, course: Course, seed: int
) -> LlamaForSequenceClassification:
    """A grader in float32 that can tell right from wrong in answers of a word or two."""
    import torch

    torch.manual_seed(seed)
    draws = seeded(seed)
    model = new_grader(tokenizer)
    return _optimised(model, _facts(Encoder(tokenizer), draws), tokenizer, course, draws)


def learn_grading(
    model: LlamaForSequenceClassification,
    tokenizer: PreTrainedTokenizerFast,
    sampled: Sampled,
    course: Course,
    seed: int,
) -> LlamaForSequenceClassification:
    """The grader after it has seen answers of all kinds.

    Args:
        model: knows the facts already.
        sampled: answers of the generator to training tasks.
    """
    draws = seeded(seed)
    examples = _all_kinds(Encoder(tokenizer), sampled, draws)
    return _optimised(model, examples, tokenizer, course, draws)


def _optimised(
    model: LlamaForSequenceClassification,
    examples: Iterator[Example],
    tokenizer: PreTrainedTokenizerFast,
    course: Course,
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

    optimise(model.train(), pools(examples, course.batch, draws), loss_of, course)
    return model.eval()


def new_grader(tokenizer: PreTrainedTokenizerFast) -> LlamaForSequenceClassification:
    """A grader that knows nothing yet, from torch's global seed."""
    from transformers import LlamaForSequenceClassification

    return LlamaForSequenceClassification(reward_config(tokenizer)).float()


def _facts(encoder: Encoder, draws: Random) -> Iterator[Example]:
    """Mostly short answers; the others keep later tokens from being a shock."""
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
    """The example with its true scores."""
    scores = label(answer, task.tags)
    values = [getattr(scores, name) for name in ATTRIBUTES]
    return encoder.graded(task.prompt, answer, values, good=is_correct(answer, task.tags))
