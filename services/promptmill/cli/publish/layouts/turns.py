"""Converting conversations of data sets to the roles and fields of a message."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

from promptmill.cli.publish.layouts.choices import LastAnswer
from promptmill.cli.publish.layouts.plain import Row, answer_reference, parsed, present
from promptmill_schemas import Message

ROLES: Final = {
    **dict.fromkeys(("human", "prompter", "user"), "user"),
    **dict.fromkeys(("gpt", "chatgpt", "bing", "bard", "model", "bot", "ai"), "assistant"),
    **dict.fromkeys(("observation", "function_response", "function", "tool_response"), "tool"),
    **dict.fromkeys(("system", "developer"), "system"),
    **dict.fromkeys(("assistant", "function_call", "tool_call"), "assistant"),
    "tool": "tool",
}
"""Names of roles in data sets, in any case, and ours. ``developer`` is the newer ``system``."""

CALLS: Final = {"function_call", "tool_call"}
"""Roles whose text is a call of a tool, or a list of them, as JSON."""

EXCHANGES: Final = (("input", "output"), ("human", "assistant"), ("user", "assistant"))
DEVELOPER: Final = {"developer": "system"}
TEXT_PARTS: Final = {"text", "input_text", "output_text"}
SYSTEM: Final = {"system", "developer"}
_REASONING: Final = re.compile(r"\s*<think>.*?</think>\s*", re.DOTALL)


def clean_turns(turns: Any) -> Any:
    """Clean messages: remove nulls and empty system turns, and join text parts.

    A value that is not a list of objects is returned unchanged, and its validation fails later.
    """
    return _cleaned(turns, DEVELOPER, strict=True)


def foreign_turns(turns: Any) -> Any:
    """Convert a data set's turns, with ``from`` and ``value`` or other roles, to clean messages."""
    if isinstance(turns, list):
        turns = [_renamed(part) for turn in turns for part in _exchange(turn)]
    return _cleaned(turns, ROLES, strict=False)


def split_answer(messages: Any, policy: LastAnswer) -> tuple[Any, Row | None]:
    """Split a conversation into the turns to answer and the answer at its end, if any."""
    if policy is LastAnswer.REFUSE or not isinstance(messages, list) or len(messages) < 2:
        return messages, None
    last = messages[-1]
    if not isinstance(last, dict) or last.get("role") != "assistant":
        return messages, None
    answer = last.get("content") if policy is LastAnswer.REFERENCE else None
    if isinstance(answer, str):
        answer = _REASONING.sub("", answer, count=1) if _REASONING.match(answer) else answer
    return messages[:-1], answer_reference(answer)


def _cleaned(turns: Any, roles: dict[str, str], *, strict: bool) -> Any:
    if not isinstance(turns, list):
        return turns
    cleaned = [_turn(turn, roles, strict=strict) for turn in turns]
    return [turn for turn in cleaned if not _is_empty_system(turn)] or cleaned


def _turn(turn: Any, roles: dict[str, str], *, strict: bool) -> Any:
    if not isinstance(turn, dict):
        return turn
    found = present(turn)
    role = found.get("role")
    name = role if strict or not isinstance(role, str) else role.strip().lower()
    if isinstance(name, str):
        found["role"] = roles.get(name, role)
    found["content"] = _text(turn.get("content"))
    if found["content"] is None:
        del found["content"]
    if strict:
        return found
    if name in CALLS and (calls := list(_calls(found.get("content")))):
        found |= {"content": "", "tool_calls": calls}
    return {name: value for name, value in found.items() if name in Message.model_fields}


def _calls(text: Any) -> Iterator[Row]:
    """Yield the calls that a text holds as JSON; none if it is anything else."""
    value = parsed(text)
    calls = value if isinstance(value, list) else [value]
    if all(isinstance(call, dict) and isinstance(call.get("name"), str) for call in calls):
        for call in calls:
            arguments = call.get("arguments", call.get("parameters")) or {}
            yield {"function": {"name": call["name"], "arguments": arguments}}


def _text(content: Any) -> Any:
    """Join a content's parts to one text, if all of them are texts."""
    if isinstance(content, list) and content and all(map(_is_text, content)):
        return "".join(part["text"] for part in content)
    return content


def _is_text(part: Any) -> bool:
    return (
        isinstance(part, dict)
        and part.get("type") in TEXT_PARTS
        and isinstance(part.get("text"), str)
    )


def _is_empty_system(turn: Any) -> bool:
    if not isinstance(turn, dict) or turn.get("role") not in SYSTEM:
        return False
    content = turn.get("content")
    return content is None or (isinstance(content, str) and not content.strip())


def _exchange(turn: Any) -> list[Any]:
    """Return the turns of an item that holds a question and its answer; else the item."""
    if isinstance(turn, dict) and "role" not in turn and "from" not in turn:
        for question, answer in EXCHANGES:
            if question in turn and answer in turn:
                asked = {"role": "user", "content": turn[question]}
                return [asked, {"role": "assistant", "content": turn[answer]}]
    return [turn]


def _renamed(turn: Any) -> Any:
    """Rename the fields of a ShareGPT turn to those of a message."""
    if not isinstance(turn, dict) or "from" not in turn:
        return turn
    names = {"from": "role", "value": "content"}
    return {names.get(name, name): value for name, value in turn.items()}
