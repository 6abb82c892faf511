"""Content keys: records with equal conversations and final answers are exact duplicates.

Texts are equal after Unicode NFC and without white space at their ends. Reasoning does not count.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple
from unicodedata import normalize

from promptmill_schemas import ids
from promptmill_schemas.message import Message, ToolCall, called
from promptmill_schemas.record import Record


class FinalAnswer(NamedTuple):
    """An answer without its reasoning."""

    text: str
    tool_calls: tuple[ToolCall, ...] | None = None

    def exact(self) -> Any:
        """Return the text for comparison, with the calls, if any, without their ids."""
        text = exact(self.text)
        if self.tool_calls is None:
            return text
        return [text, [called(call) for call in self.tool_calls]]

    def in_words(self) -> str:
        """Return the text with the names and arguments of its calls."""
        calls = [" ".join(called(call)) for call in self.tool_calls or ()]
        return " ".join([self.text, *calls])


def exact(text: str) -> str:
    """Return the text in Unicode NFC without white space at its ends, to find exact duplicates."""
    return (text if text.isascii() else normalize("NFC", text)).strip()


def folded(text: str) -> str:
    """Return the text without differences in case, white space and compatibility forms.

    It is used to find near-duplicates. It applies Unicode NFKC, full case folding, and NFKC again,
    because case folding can undo it. Runs of white space become one space.
    """
    if not text.isascii():
        text = normalize("NFKC", normalize("NFKC", text).casefold())
    return " ".join(text.casefold().split())


def exact_turns(messages: Sequence[Message], tools: Sequence[Any] | None = None) -> list[list[Any]]:
    """Return a conversation for comparison: ``[[role, text], …]``.

    The other fields of a turn except its reasoning are a third item, and the tools of the prompt
    are an item of their own.
    """
    turns = [_turn(message) for message in messages]
    return [*turns, ["tools", list(tools)]] if tools else turns


def content_digest(
    kind: str, turns: Sequence[Sequence[Any]], answers: Sequence[FinalAnswer]
) -> str:
    """Return the id of a record's content.

    Args:
        kind: the kind of the record; a pair has other content than its chosen side alone.
        turns: the conversation that the record continues, from :func:`exact_turns`.
        answers: the answers, the chosen one first.
    """
    parts = [list(turn) for turn in turns], [answer.exact() for answer in answers]
    return ids.digest("content", kind, *parts)


def prompt_of(record: Record) -> tuple[Message, ...]:
    """Return the conversation that the record continues."""
    return record.messages[:-1] if record.kind == "sft" else record.messages


def answers_of(record: Record) -> list[FinalAnswer]:
    """Return the final answers of a record, the chosen one first."""
    if record.kind == "sft" or record.rejected is None:
        return [FinalAnswer(record.chosen, record.messages[-1].tool_calls)]
    return [
        FinalAnswer(record.chosen, record.chosen_tool_calls),
        FinalAnswer(record.rejected, record.rejected_tool_calls),
    ]


def _turn(message: Message) -> list[Any]:
    extras = message.extras()
    extras.pop("reasoning_content", None)
    return [message.role, exact(message.content), *([extras] if extras else [])]
