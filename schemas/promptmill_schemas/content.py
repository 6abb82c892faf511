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
        """The answer for comparison: its text, or its text and its calls without their ids."""
        text = exact(self.text)
        if self.tool_calls is None:
            return text
        return [text, [called(call) for call in self.tool_calls]]

    def in_words(self) -> str:
        """The text with the names and arguments of its calls."""
        calls = [" ".join(called(call)) for call in self.tool_calls or ()]
        return " ".join([self.text, *calls])


def exact(text: str) -> str:
    """The text in Unicode NFC without white space at its ends; equal ones are exact duplicates."""
    return (text if text.isascii() else normalize("NFC", text)).strip()


def folded(text: str) -> str:
    """The text without differences in case, white space and compatibility forms.

    Near-duplicates are found by it. This applies Unicode NFKC, full case folding, and NFKC again,
    because case folding can undo it. Runs of white space become one space.
    """
    if not text.isascii():
        text = normalize("NFKC", normalize("NFKC", text).casefold())
    return " ".join(text.casefold().split())


def exact_turns(messages: Sequence[Message], tools: Sequence[Any] | None = None) -> list[list[Any]]:
    """A conversation for comparison: ``[[role, text], …]``.

    The other fields of a turn except its reasoning are a third item, and the tools of the prompt
    are an item of their own.
    """
    turns = [_turn(message) for message in messages]
    return [*turns, ["tools", list(tools)]] if tools else turns


def content_digest(
    kind: str, turns: Sequence[Sequence[Any]], answers: Sequence[FinalAnswer]
) -> str:
    """The id of a record's content.

    Args:
        kind: of the record; a pair is other content than its chosen side.
        turns: what the record continues, from :func:`exact_turns`.
        answers: the chosen one first.
    """
    parts = [list(turn) for turn in turns], [answer.exact() for answer in answers]
    return ids.digest("content", kind, *parts)


def prompt_of(record: Record) -> tuple[Message, ...]:
    """What the record continues."""
    return record.messages[:-1] if record.kind == "sft" else record.messages


def answers_of(record: Record) -> list[FinalAnswer]:
    """The final answers of a record, the chosen one first."""
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
