"""Rendering of conversations to token ids with the model's chat template."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import lru_cache
from hashlib import blake2b
from typing import Any

import orjson

from promptmill.runtime.errors import Poison
from promptmill_schemas import Message, ToolCall

CACHED = 64
"""Size of the cache of rendered conversations, which serves the candidates of one prompt."""


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

    async def render(
        self,
        messages: Sequence[Message],
        answer: str | None = None,
        *,
        tools: Sequence[Mapping[str, Any]] | None = None,
        arguments: Mapping[str, Any] | None = None,
    ) -> list[int]:
        """Return the token ids of a conversation.

        Args:
            messages: the conversation.
            answer: the assistant's last message, for a complete conversation.
            tools: the tools that the model may call.
            arguments: the conversation's own arguments of the chat template.

        Raises:
            Poison: the conversation exceeds the context, or the chat template refuses it.
        """
        turns = [template_turn(message) for message in messages]
        if answer is not None:
            turns.append({"role": "assistant", "content": answer})
        key = orjson.dumps([turns, tools and list(tools), arguments and dict(arguments)])
        loop = asyncio.get_running_loop()
        ids = await loop.run_in_executor(self._thread, self._cached, key)
        self._require_room(len(ids))
        return ids

    def close(self) -> None:
        """End the thread."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _tokens(self, key: bytes) -> list[int]:
        turns, tools, arguments = orjson.loads(key)
        template = getattr(self._tokenizer, "chat_template", None)
        if not template:
            text = "\n\n".join(turn["content"] for turn in turns)
            return list(self._tokenizer(text)["input_ids"])
        return self._apply_template(with_known_roles(turns, str(template)), tools, arguments)

    def _apply_template(
        self,
        messages: list[dict[str, Any]],
        tools: list[dict[str, Any]] | None,
        arguments: dict[str, Any] | None,
    ) -> list[int]:
        from jinja2 import TemplateError

        more: dict[str, Any] = {**self._arguments, **(arguments or {})}
        if tools:
            more["tools"] = tools
        try:
            encoded = self._tokenizer.apply_chat_template(
                messages,
                tokenize=True,
                add_generation_prompt=self._answers,
                return_dict=True,
                **more,
            )
        except TemplateError as error:
            roles = ", ".join(turn["role"] for turn in messages)
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


def template_turn(message: Message) -> dict[str, Any]:
    """A turn as chat templates expect it: with the arguments of calls as objects."""
    turn: dict[str, Any] = {"role": message.role, "content": message.content}
    for name in ("name", "tool_call_id", "reasoning_content"):
        if (value := getattr(message, name)) is not None:
            turn[name] = value
    if message.tool_calls is not None:
        turn["tool_calls"] = [_template_call(call) for call in message.tool_calls]
    return turn


def with_known_roles(turns: list[dict[str, Any]], template: str) -> list[dict[str, Any]]:
    """The turns with ``developer`` as ``system``, unless the chat template knows ``developer``.

    Other templates refuse such a turn or leave it out silently.
    """
    if "developer" in template:
        return turns
    return [turn | {"role": "system"} if turn["role"] == "developer" else turn for turn in turns]


def _template_call(call: ToolCall) -> dict[str, Any]:
    """A call; arguments that are not valid JSON stay a text."""
    arguments: Any = call.function.arguments
    with suppress(orjson.JSONDecodeError):
        arguments = orjson.loads(arguments)
    made: dict[str, Any] = {"type": call.type}
    if call.id is not None:
        made["id"] = call.id
    return made | {"function": {"name": call.function.name, "arguments": arguments}}
