"""Conversations as token ids, by the model's own template, never longer than its context."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from hashlib import blake2b
from typing import Any

from promptmill.runtime.errors import Poison
from promptmill_schemas import Message

CACHED = 64
"""Conversations kept for the other candidates of the same prompt."""

Turn = tuple[str, str]


class Renderer:
    """Renders in one thread of its own: tokenizers are not safe in two, and texts can be long.

    Args:
        tokenizer: of Hugging Face, with or without a chat template.
        context_tokens: the model's limit.
        answers: whether an answer is to follow (else the conversation is complete).
    """

    def __init__(self, tokenizer: Any, context_tokens: int, *, answers: bool) -> None:
        self._tokenizer = tokenizer
        self._context_tokens = context_tokens
        self._answers = answers
        self._thread = ThreadPoolExecutor(1, "render")
        self._cached = lru_cache(CACHED)(self._tokens)

    @property
    def template_digest(self) -> str:
        """BLAKE2b-128 of the chat template; empty for a base model, which has none."""
        template = getattr(self._tokenizer, "chat_template", None)
        return blake2b(str(template).encode(), digest_size=16).hexdigest() if template else ""

    async def render(self, messages: Sequence[Message], answer: str | None = None) -> list[int]:
        """The token ids of a conversation.

        Args:
            answer: what the assistant said last, for a conversation that is complete.

        Raises:
            Poison: too long for the model, or of a form that its template refuses.
        """
        turns = [(message.role, message.content) for message in messages]
        if answer is not None:
            turns.append(("assistant", answer))
        loop = asyncio.get_running_loop()
        ids = await loop.run_in_executor(self._thread, self._cached, tuple(turns))
        self._require_room(len(ids))
        return ids

    def close(self) -> None:
        """End the thread."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _tokens(self, turns: tuple[Turn, ...]) -> list[int]:
        if not getattr(self._tokenizer, "chat_template", None):
            text = "\n\n".join(content for _, content in turns)
            return list(self._tokenizer(text)["input_ids"])
        return self._apply_template(turns)

    def _apply_template(self, turns: tuple[Turn, ...]) -> list[int]:
        from jinja2 import TemplateError

        messages = [{"role": role, "content": content} for role, content in turns]
        try:
            encoded = self._tokenizer.apply_chat_template(
                messages,
                tokenize=True,
                add_generation_prompt=self._answers,
                return_dict=True,
            )
        except TemplateError as error:
            roles = ", ".join(role for role, _ in turns)
            raise Poison(
                f"the model's chat template refuses messages with the roles {roles} ({error}); "
                "change the order of the turns or the model"
            ) from error
        return list(encoded["input_ids"])

    def _require_room(self, tokens: int) -> None:
        """A generator needs room for one token more."""
        limit = self._context_tokens - (1 if self._answers else 0)
        if tokens > limit:
            raise Poison(
                f"messages have {tokens} tokens, the model's context holds {limit}; shorten the "
                "conversation or use a model with a longer context"
            )
