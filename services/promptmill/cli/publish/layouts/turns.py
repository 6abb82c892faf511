"""Conversations as data sets write them, in the roles and fields of a message."""

from __future__ import annotations

import re
from typing import Any, Final

from promptmill.cli.publish.layouts.choices import LastAnswer
from promptmill.cli.publish.layouts.plain import Row, answer_reference, present
from promptmill_schemas import Message

ROLES: Final = {
    **dict.fromkeys(("human", "prompter", "User"), "user"),
    **dict.fromkeys(("gpt", "chatgpt", "bing", "bard", "model", "bot", "Assistant"), "assistant"),
    **dict.fromkeys(("observation", "function_response", "function", "tool_response"), "tool"),
    **dict.fromkeys(("System", "developer"), "system"),
    "function_call": "assistant",
}
"""Names of roles in data sets, and ours. ``developer`` is the newer name of ``system``."""

DEVELOPER: Final = {"developer": "system"}
TEXT_PARTS: Final = {"text", "input_text", "output_text"}
SYSTEM: Final = {"system", "developer"}
_REASONING: Final = re.compile(r"\s*<think>.*?</think>\s*", re.DOTALL)


def clean_turns(turns: Any) -> Any:
    """Our messages: nulls absent, text parts joined, empty system turns left out.

    What is no list of objects is returned as it is; the validation names it.
    """
    return _cleaned(turns, DEVELOPER, strict=True)


def foreign_turns(turns: Any) -> Any:
    """The same of a data set's turns, with ``from`` and ``value``, other roles and more fields."""
    if isinstance(turns, list):
        turns = [_renamed(turn) for turn in turns]
    return _cleaned(turns, ROLES, strict=False)


def split_answer(messages: Any, policy: LastAnswer) -> tuple[Any, Row | None]:
    """The conversation up to the turn that is to be answered, and the answer that followed."""
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
    if isinstance(role, str):
        found["role"] = roles.get(role, role)
    found["content"] = _text(turn.get("content"))
    if found["content"] is None:
        del found["content"]
    if strict:
        return found
    return {name: value for name, value in found.items() if name in Message.model_fields}


def _text(content: Any) -> Any:
    """The text of parts, if all of them are texts."""
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


def _renamed(turn: Any) -> Any:
    """A turn of ShareGPT with the names of ours."""
    if not isinstance(turn, dict) or "from" not in turn:
        return turn
    names = {"from": "role", "value": "content"}
    return {names.get(name, name): value for name, value in turn.items()}
