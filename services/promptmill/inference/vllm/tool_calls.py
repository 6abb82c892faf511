"""Takes calls of tools out of answers, with the parsers that vLLM has for the formats of models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import structlog

from promptmill.inference.ports import Answer
from promptmill.inference.reasoning import KNOWN, Tags, split_reasoning
from promptmill.runtime.errors import Misconfigured
from promptmill_schemas import ToolCall
from promptmill_schemas.limits import MAX_TOOLS
from promptmill_schemas.message import FunctionCall

if TYPE_CHECKING:
    from vllm.entrypoints.openai.chat_completion.protocol import ChatCompletionRequest
    from vllm.tool_parsers import ToolParser

log = structlog.get_logger(__name__)

Tools = Sequence[Mapping[str, Any]]

CALLS = "tool_calls"
"""How an answer that calls tools ends, as servers say it."""


class ToolCalls:
    """Reads the calls of tools in a model's answers.

    Args:
        name: of the parser at vLLM, such as ``hermes``.
        tokenizer: of the model.
        tags: by which inline reasoning is split off first, because it may mention calls.

    Raises:
        Misconfigured: vLLM has no such parser, or it does not fit the model.
    """

    def __init__(self, name: str, tokenizer: Any, tags: Sequence[Tags] = KNOWN) -> None:
        from vllm.tokenizers.hf import get_cached_tokenizer

        self._kind = parser_of(name)
        self._tokenizer = get_cached_tokenizer(tokenizer)  # each parser asks for the vocabulary
        self._tags = tags
        try:
            self._kind(self._tokenizer)
        except Exception as error:
            raise Misconfigured(
                f"tool_call_parser is {name!r}, which does not fit this model: {error}; choose the "
                "parser that vLLM's documentation names for the model"
            ) from error

    def need_special_tokens(self, tools: Tools) -> bool:
        """Whether the parser must see the special tokens of answers to such a prompt."""
        request = _request(tools)
        return not self._parser(request).adjust_request(request).skip_special_tokens

    def taken_out_of(self, answer: Answer, tools: Tools) -> Answer:
        """The answer with its calls, and with its reasoning, apart from its text.

        An answer whose calls cannot be read keeps its text, because it is paid for, and a policy
        can reject it.
        """
        split = split_reasoning(answer.text, self._tags)
        request = _request(tools)
        try:
            found = self._parser(request).extract_tool_calls(split.answer, request)
            calls = tuple(
                ToolCall(function=FunctionCall(name=f.name, arguments=f.arguments))
                for f in (call.function for call in found.tool_calls)
            )
        except Exception as error:  # noqa: BLE001 - a parser may raise anything at a model's text
            log.warning("tool_calls_unreadable", error=repr(error))
            return answer
        if not found.tools_called or not 0 < len(calls) <= MAX_TOOLS:
            return answer
        return replace(
            answer,
            text=(found.content or "").strip(),
            finish_reason=CALLS if answer.finish_reason == "stop" else answer.finish_reason,
            tool_calls=calls,
            reasoning_content=split.reasoning,
        )

    def _parser(self, request: ChatCompletionRequest) -> ToolParser:
        """A parser for one answer; some keep a state, and some read the tools' schemas."""
        return self._kind(self._tokenizer, request.tools)


def parser_of(name: str) -> type[ToolParser]:
    """vLLM's parser of this name.

    Raises:
        Misconfigured: there is none.
    """
    from vllm.tool_parsers import ToolParserManager

    try:
        kind: type[ToolParser] = ToolParserManager.get_tool_parser(name)
    except KeyError:
        known = sorted({*ToolParserManager.tool_parsers, *ToolParserManager.lazy_parsers})
        raise Misconfigured(
            f"tool_call_parser is {name!r}, which vLLM does not have; choose one of "
            f"{', '.join(known)}"
        ) from None
    return kind


def _request(tools: Tools) -> ChatCompletionRequest:
    """What vLLM's server would have been asked, as far as its parsers look at it."""
    from vllm.entrypoints.openai.chat_completion.protocol import ChatCompletionRequest

    turn = {"role": "user", "content": ""}
    return ChatCompletionRequest.model_validate({"messages": [turn], "tools": list(tools)})
