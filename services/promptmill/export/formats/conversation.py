"""A record's conversation in the shapes that trainers expect: turns, pairs and templated text.

Multi-turn conversations keep all turns in their order. A system turn remains a separate message if
the trainer reads messages. Formats with one field for it get the joined text of all system turns.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final, TypeAlias

from promptmill_schemas import ATTRIBUTES, AttributeScores, Message, Record

Turn: TypeAlias = dict[str, str]

SYSTEM: Final = "<extra_id_0>"
TURN: Final = "<extra_id_1>"
LABEL: Final = "<extra_id_2>"
"""The special tokens of Nemotron's chat template."""

_SPEAKERS: Final = {"user": "User", "assistant": "Assistant"}
_BEST_SCORE: Final = 4


def turn(role: str, content: str) -> Turn:
    """Return one message in OpenAI's shape."""
    return {"role": role, "content": content}


def turns(messages: Iterable[Message]) -> list[Turn]:
    """Return messages in OpenAI's shape, with the developer's turns as those of the system."""
    return [
        turn("system" if _is_system(message) else message.role, message.content)
        for message in messages
    ]


def uses_tools(record: Record) -> bool:
    """Return whether the conversation or an answer contains tool calls or their results.

    Rows hold only texts, so they would show this conversation with gaps.
    """
    calls = (record.chosen_tool_calls, record.rejected_tool_calls)
    return any(calls) or any(m.role == "tool" or m.tool_calls for m in record.messages)


def _is_system(message: Message) -> bool:
    return message.role in {"system", "developer"}


def asked(record: Record) -> tuple[Message, ...]:
    """Return the conversation that the answers of the record continue."""
    return record.messages[:-1] if record.kind == "sft" else record.messages


def prompt(record: Record) -> list[Turn]:
    """Return the conversation that the answers of the record continue, in OpenAI's shape."""
    return turns(asked(record))


def answer(text: str) -> Turn:
    """Return an answer as a message."""
    return turn("assistant", text)


def conversation(record: Record, text: str | None = None) -> list[Turn]:
    """Return the whole conversation with an answer at its end, by default the chosen one."""
    return [*prompt(record), answer(record.chosen if text is None else text)]


def system_text(messages: Iterable[Message]) -> str:
    """Join all system turns to one text; it is empty if there are none."""
    return "\n\n".join(message.content for message in messages if _is_system(message))


def dialogue(messages: Iterable[Message]) -> list[Message]:
    """Return the turns of the user and the assistant."""
    return [message for message in messages if not _is_system(message)]


def nemotron_prompt(messages: tuple[Message, ...]) -> str:
    """Format the conversation in Nemotron's chat template, up to the assistant's answer."""
    said = "".join(
        f"{TURN}{_SPEAKERS[message.role]}\n{message.content}\n" for message in dialogue(messages)
    )
    return f"{SYSTEM}System\n{system_text(messages)}\n{said}{TURN}Assistant\n"


def graded_answers(record: Record) -> Iterator[tuple[str, AttributeScores]]:
    """Yield every answer with scores that the record holds, each once.

    The first record of a decision lists all candidates. The answers of the others are in that list,
    so the others yield nothing.
    """
    if record.candidates:
        yield from ((c.text, c.scores) for c in record.candidates if c.scores is not None)
    elif record.ordinal == 0:
        yield record.chosen, record.scores
        if record.rejected is not None and record.rejected_scores is not None:
            yield record.rejected, record.rejected_scores


def whole_scores(scores: AttributeScores) -> dict[str, int]:
    """Return the scores as in HelpSteer: rounded, and clamped to the range 0 to 4."""
    return {name: min(_BEST_SCORE, max(0, round(getattr(scores, name)))) for name in ATTRIBUTES}
