"""One turn of a conversation, with the roles and fields of OpenAI's chat format."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal, Self, TypeAlias

import orjson
from pydantic import BeforeValidator, Field, model_validator

from promptmill_schemas import ids
from promptmill_schemas.base import Contract
from promptmill_schemas.errors import MISSING, LocalError
from promptmill_schemas.fields import Items, OrAbsent, Text
from promptmill_schemas.limits import MAX_TOOLS

Role = Literal["system", "developer", "user", "assistant", "tool"]

_OF_ROLE: Final = {
    "tool_calls": "assistant",
    "reasoning_content": "assistant",
    "tool_call_id": "tool",
}
"""The fields that only turns of one role may have, with that role."""


def _as_json_text(value: Any) -> Any:
    return orjson.dumps(value).decode() if isinstance(value, dict) else value


def _null_is_empty(value: Any) -> Any:
    return "" if value is None else value


class FunctionCall(Contract):
    """A call of a function.

    Attributes:
        arguments: the arguments as JSON text, exactly as the model wrote them, so that they may be
            invalid JSON. An object is accepted and kept as its text.
    """

    name: Text
    arguments: Annotated[
        str, BeforeValidator(_as_json_text, json_schema_input_type=str | dict[str, Any])
    ]


class ToolCall(Contract):
    """One of an answer's calls of tools.

    Attributes:
        id: the id to which the tool's turn refers, if the model or the server gives one.
    """

    id: Text | None = None
    type: Literal["function"] = "function"
    function: FunctionCall


ToolCalls: TypeAlias = Annotated[Items[ToolCall], Field(max_length=MAX_TOOLS)]


class Message(Contract):
    """One turn of a conversation.

    Attributes:
        content: the text. It may be empty in a turn of a tool, and beside tool_calls.
        name: the name of the participant or tool.
        tool_calls: the tools that the assistant calls.
        tool_call_id: the call to which a tool's turn is the result.
        reasoning_content: the assistant's reasoning, without the final answer.
    """

    role: Role
    content: Annotated[str, BeforeValidator(_null_is_empty, json_schema_input_type=str | None)] = ""
    name: OrAbsent[Text] = None
    tool_calls: OrAbsent[ToolCalls] = None
    tool_call_id: OrAbsent[Text] = None
    reasoning_content: OrAbsent[str] = None

    @model_validator(mode="after")
    def _fits_its_role(self) -> Self:
        for field, role in _OF_ROLE.items():
            if getattr(self, field) is not None and self.role != role:
                limit = f"only turns of the role {role} have {field}"
                remedy = f"remove the field or set the role to {role}"
                raise LocalError(field, getattr(self, field), limit, remedy)
        if not self.content and self.role != "tool" and self.tool_calls is None:
            given = self.content if "content" in self.model_fields_set else MISSING
            limit = "a text is required, except in turns of tools and beside tool_calls"
            raise LocalError("content", given, limit, "add a text or remove the turn")
        return self

    def extras(self) -> dict[str, Any]:
        """Return the known fields that are present, except role and content, as plain JSON."""
        found = {
            "name": self.name,
            "tool_calls": self.tool_calls and [[c.id, *called(c)] for c in self.tool_calls],
            "tool_call_id": self.tool_call_id,
            "reasoning_content": self.reasoning_content,
        }
        return {name: value for name, value in found.items() if value is not None}


def called(call: ToolCall) -> list[str]:
    """Return the name and arguments of a call, without its id, which servers choose at random."""
    return [call.function.name, call.function.arguments]


def answer_digest(text: str, tool_calls: tuple[ToolCall, ...] | None = None) -> str:
    """Return the id of a final answer: of its text and any tool calls, without the reasoning."""
    if tool_calls is None:
        return ids.text_digest(text)
    return ids.digest("answer", text, [called(call) for call in tool_calls])


def canonical_turns(messages: tuple[Message, ...]) -> list[list[Any]]:
    """Return a conversation for ids: ``[[role, content], …]``, with extras as a third item."""
    turns: list[list[Any]] = []
    for message in messages:
        extras = message.extras()
        turns.append([message.role, message.content, *([extras] if extras else [])])
    return turns
