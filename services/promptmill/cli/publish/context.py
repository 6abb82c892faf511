"""Refusing prompts that certainly do not fit into the model's context."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

from promptmill.runtime.telemetry.registry import WorkerInfo
from promptmill_schemas import ContractError, Prompt

CountTokens = Callable[[str], int]


class ContextCheck(Protocol):
    """A check that refuses prompts that no model can answer."""

    def __call__(self, prompt: Prompt) -> None:
        """Raise :class:`ContractError` if the prompt is certainly too long."""


def accept_all(prompt: Prompt) -> None:
    """Accept every prompt, because nothing is known about the models."""


class ContextLimit:
    """The check for models of one tokenizer.

    The sum of the tokens of all messages is a lower bound for the whole prompt: the chat template
    adds at least as many tokens as may merge at the borders of messages.

    Args:
        context_tokens: the longest conversation of the model, including the answer.
        count: counts the tokens of a text, without special tokens.
    """

    def __init__(self, context_tokens: int, count: CountTokens) -> None:
        self._context_tokens = context_tokens
        self._count = count

    def __call__(self, prompt: Prompt) -> None:
        """Raise :class:`ContractError` if the prompt leaves no token for an answer."""
        texts = [message.content for message in prompt.messages]
        if sum(len(text.encode()) for text in texts) < self._context_tokens:
            return  # every token has at least one byte
        tokens = sum(self._count(text) for text in texts)
        if tokens >= self._context_tokens:
            limit = (
                f"the model's context holds {self._context_tokens} tokens, but the conversation "
                f"has at least {tokens}"
            )
            remedy = "shorten the conversation, or use a model with a longer context"
            raise ContractError("messages", texts[-1], limit, remedy)


class AnyOf:
    """The check for several models: it refuses a prompt if every model refuses it.

    The error is that of the model with the longest context.
    """

    def __init__(self, limits: Sequence[ContextLimit]) -> None:
        self._limits = limits

    def __call__(self, prompt: Prompt) -> None:
        """Raise the last model's :class:`ContractError` if no model accepts the prompt."""
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
    """Return the check for the live instruct workers.

    It refuses prompts only if all workers report the length of their context and their tokenizers
    can be read on this machine; otherwise nothing is certain.
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
