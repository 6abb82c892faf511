"""Rendering of conversations to token ids with the model's chat template."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from hashlib import blake2b
from typing import Any

from promptmill.runtime.errors import Poison
from promptmill_schemas import Message

CACHED = 64
"""Size of the cache of rendered conversations, which serves the candidates of one prompt."""

Turn = tuple[str, str]


class Renderer:
    """Renders conversations in a thread of its own.

    One thread, because tokenizers are not thread-safe; not the event loop's, because rendering a
    long text takes time.

    Args:
        tokenizer: a Hugging Face tokenizer, with or without a chat template.
        context_tokens: the model's maximum, in tokens.
        answers: whether the model is to answer; otherwise conversations are complete.
        arguments: further arguments of the chat template.
    """

    def __init__(
        self,
        tokenizer: Any,
        context_tokens: int,
        *,
        answers: bool,
        arguments: Mapping[str, Any] | None = None,
    ) -> None:
        self._tokenizer = tokenizer
        self._context_tokens = context_tokens
        self._answers = answers
        self._arguments = dict(arguments or {})
        self._thread = ThreadPoolExecutor(1, "render")
        self._cached = lru_cache(CACHED)(self._tokens)

    @property
    def template_digest(self) -> str:
        """BLAKE2b-128 of the chat template; empty for a base model, which has no template."""
        template = getattr(self._tokenizer, "chat_template", None)
        return blake2b(str(template).encode(), digest_size=16).hexdigest() if template else ""

    async def render(self, messages: Sequence[Message], answer: str | None = None) -> list[int]:
        """Return the token ids of a conversation.

        Args:
            messages: the conversation.
            answer: the assistant's last message, for a complete conversation.

        Raises:
            Poison: the conversation exceeds the context, or the chat template refuses it.
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
                **self._arguments,
            )
        except TemplateError as error:
            roles = ", ".join(role for role, _ in turns)
            raise Poison(
                f"the model's chat template refuses messages with the roles {roles} ({error}); "
                "change the order of the turns or the model"
            ) from error
        return list(encoded["input_ids"])

    def _require_room(self, tokens: int) -> None:
        """Check the length; a generator needs room for at least one more token."""
        limit = self._context_tokens - (1 if self._answers else 0)
        if tokens > limit:
            raise Poison(
                f"messages have {tokens} tokens, the model's context holds {limit}; shorten the "
                "conversation or use a model with a longer context"
            )
