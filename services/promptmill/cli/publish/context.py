"""Whether a prompt fits into the model's context, as far as that is certain before it runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

from promptmill.runtime.telemetry.registry import WorkerInfo
from promptmill_schemas import ContractError, Prompt

CountTokens = Callable[[str], int]


class ContextCheck(Protocol):
    """Refuses prompts that no model can answer."""

    def __call__(self, prompt: Prompt) -> None:
        """Raises :class:`ContractError` when the prompt is certainly too long."""


def accept_all(prompt: Prompt) -> None:
    """The check when nothing is known about the models."""


class ContextLimit:
    """The check for models of one tokenizer.

    The sum of the messages' own tokens is a lower bound of the whole prompt: the chat template
    adds at least as many tokens as may merge where it meets a message.

    Args:
        context_tokens: longest conversation of the model, answer included.
        count: tokens of a text without special tokens.
    """

    def __init__(self, context_tokens: int, count: CountTokens) -> None:
        self._context_tokens = context_tokens
        self._count = count

    def __call__(self, prompt: Prompt) -> None:
        """Raises :class:`ContractError` when not even one token of an answer fits."""
        texts = [message.content for message in prompt.messages]
        if sum(len(text.encode()) for text in texts) < self._context_tokens:
            return  # no token is shorter than a byte
        tokens = sum(self._count(text) for text in texts)
        if tokens >= self._context_tokens:
            limit = (
                f"the model's context holds {self._context_tokens} tokens, but the conversation "
                f"has at least {tokens}"
            )
            remedy = "shorten the conversation, or use a model with a longer context"
            raise ContractError("messages", texts[-1], limit, remedy)


class AnyOf:
    """A prompt is refused when every model refuses it; the error is that of the longest one."""

    def __init__(self, limits: Sequence[ContextLimit]) -> None:
        self._limits = limits

    def __call__(self, prompt: Prompt) -> None:
        """Raises the last model's :class:`ContractError` when none takes the prompt."""
        refusal: ContractError | None = None
        for limit in self._limits:
            try:
                return limit(prompt)
            except ContractError as error:
                refusal = error
        if refusal is not None:
            raise refusal
        return None


def check_for(workers: Sequence[WorkerInfo]) -> ContextCheck:
    """The check that follows from the instruct workers that are alive.

    Only when all of them say how long their context is, and their tokenizers can be read here,
    can anything be refused for certain.
    """
    known = {(w.context_tokens, w.tokenizer) for w in workers if w.stage == "instruct"}
    files = {tokenizer: Path(tokenizer, "tokenizer.json") for _, tokenizer in known}
    if not known or not all(tokens > 0 for tokens, _ in known):
        return accept_all
    if not all(tokenizer and files[tokenizer].is_file() for _, tokenizer in known):
        return accept_all
    counters = {tokenizer: _counter(file) for tokenizer, file in files.items()}
    return AnyOf([ContextLimit(tokens, counters[name]) for tokens, name in sorted(known)])


def _counter(file: Path) -> CountTokens:
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(file))
    return lambda text: len(tokenizer.encode(text, add_special_tokens=False).ids)
