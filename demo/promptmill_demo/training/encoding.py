"""Training examples as token ids in the models' chat format, packed into batches."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from random import Random
from typing import TYPE_CHECKING, Any

from promptmill_demo.models.templates import EOS, LABEL
from promptmill_demo.models.tokenizer import shipped_text
from promptmill_demo.tasks import Split, Task, all_tasks, load_kinds
from promptmill_demo.tasks.answers import STYLES, write
from promptmill_demo.tasks.chance import seeded

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

POOL_BATCHES = 8
"""Number of batches whose examples are drawn together and sorted by length, to avoid padding."""

MOST_FACTS = 32
"""Maximum weight of a kind, since kinds with more facts repeat some of them in other words."""

TURNS = 24
"""Number of lines per fact in the tokenizer's training text."""

IGNORED = -100
"""Target of a token that the loss ignores, as in torch."""


@dataclass(frozen=True, slots=True)
class Example:
    """A conversation with its answer as token ids.

    Attributes:
        ids: the token ids of the whole conversation.
        answer_from: index of the answer's first token.
        scores: the scores of the five attributes, for the grader.
        learn_text: whether the loss includes the answer's text.
    """

    ids: list[int]
    answer_from: int
    scores: tuple[float, ...] = ()
    learn_text: bool = True


class Encoder:
    """Encodes examples for one model, and caches the prompts."""

    def __init__(self, tokenizer: PreTrainedTokenizerFast) -> None:
        self._tokenizer = tokenizer
        self._prompts: dict[str, list[int]] = {}
        self._eos, self._label = tokenizer.convert_tokens_to_ids([EOS, LABEL])

    def prompt(self, prompt: str) -> list[int]:
        """Return the conversation up to the beginning of the answer."""
        if prompt not in self._prompts:
            text = f"<extra_id_0>System\n\n<extra_id_1>User\n{prompt}\n<extra_id_1>Assistant\n"
            self._prompts[prompt] = self._ids(text)
        return self._prompts[prompt]

    def generated(self, prompt: str, answer: str) -> Example:
        """Return an example for the generator: the answer and the end token."""
        head = self.prompt(prompt)
        return Example([*head, *self._ids(answer), self._eos], len(head))

    def graded(self, prompt: str, answer: str, scores: Sequence[float], *, good: bool) -> Example:
        """Return an example for the grader."""
        head = self.prompt(prompt)
        ids = [*head, *self._ids(f"{answer}\n"), self._label]
        return Example(ids, len(head), tuple(scores), learn_text=good)

    def _ids(self, text: str) -> list[int]:
        ids: list[int] = self._tokenizer(text, add_special_tokens=False)["input_ids"]
        return ids


def tokenizer_text(seed: int = 0) -> list[str]:
    """Return the tokenizer's training text: prompts with answers, and plain prose.

    Every fact occurs equally often, so that its words become tokens of their own.
    """
    draws = seeded(seed)
    lines = shipped_text()
    for kind in load_kinds().values():
        for fact, turn in product(kind.facts, range(TURNS)):
            task = Task(kind, fact, kind.questions[turn % len(kind.questions)])
            answer = draws.choice((fact.answer, *kind.mistakes(fact)))
            style = STYLES[turn % len(STYLES)]
            lines += [f"User\n{task.prompt}", f"Assistant\n{write(task, answer, style, draws)}"]
    return [*lines, "System"]


class TaskDraws:
    """Random training tasks: first the family, then the kind, then the fact and question."""

    def __init__(self, draws: Random) -> None:
        self._draws = draws
        self._kinds: dict[str, dict[str, list[Task]]] = {}
        for task in all_tasks(Split.TRAIN):
            family = self._kinds.setdefault(task.kind.family, {})
            family.setdefault(task.kind.name, []).append(task)
        self.tasks = [t for kinds in self._kinds.values() for ts in kinds.values() for t in ts]
        self._weights = {
            family: [min(len(kinds[name][0].kind.facts), MOST_FACTS) for name in kinds]
            for family, kinds in self._kinds.items()
        }

    def one(self) -> Task:
        """Draw a task."""
        family = self._draws.choice(list(self._kinds))
        kinds = list(self._kinds[family].values())
        return self._draws.choice(self._draws.choices(kinds, self._weights[family])[0])


def pools(examples: Iterator[Example], batch: int, draws: Random) -> Iterator[list[Example]]:
    """Yield batches of examples of similar length, in random order."""
    while True:
        drawn = [next(examples) for _ in range(batch * POOL_BATCHES)]
        drawn.sort(key=lambda example: len(example.ids))
        batches = [drawn[at : at + batch] for at in range(0, len(drawn), batch)]
        draws.shuffle(batches)
        yield from batches


def tensors(batch: Sequence[Example], pad: int) -> dict[str, Any]:
    """Pad a batch into tensors.

    Returns:
        ``ids``, ``mask``, ``targets`` (next tokens of the answers) and ``shares`` with the shape
        batch × length, ``last`` (index of the last token) and ``scores``. ``shares`` weights the
        loss so that every answer counts equally, whatever its length.
    """
    import torch

    longest = max(len(example.ids) for example in batch)
    ids = torch.full((len(batch), longest), pad)
    targets = torch.full((len(batch), longest), IGNORED)
    shares = torch.zeros((len(batch), longest))
    mask = torch.zeros((len(batch), longest), dtype=torch.long)
    for row, example in enumerate(batch):
        size = len(example.ids)
        ids[row, :size] = torch.tensor(example.ids)
        mask[row, :size] = 1
        if example.learn_text:
            answer = slice(example.answer_from - 1, size - 1)
            targets[row, answer] = ids[row, example.answer_from : size]
            shares[row, answer] = 1 / (size - example.answer_from) / len(batch)
    last = torch.tensor([len(example.ids) - 1 for example in batch])
    scores = torch.tensor([example.scores for example in batch], dtype=torch.float32)
    return {
        "ids": ids,
        "mask": mask,
        "targets": targets,
        "shares": shares,
        "last": last,
        "scores": scores,
    }


def text_loss(states: Any, output: Any, packed: dict[str, Any]) -> Any:
    """Return the next-token cross-entropy of the answers, with equal weight for every answer.

    Args:
        states: last hidden states of a batch.
        output: maps states to logits.
        packed: the batch, see :func:`tensors`.
    """
    import torch

    wanted = packed["targets"] != IGNORED
    losses = torch.nn.functional.cross_entropy(
        output(states[wanted]), packed["targets"][wanted], reduction="none"
    )
    return (losses * packed["shares"][wanted]).sum()
