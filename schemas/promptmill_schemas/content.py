"""Content keys: records with the same normalised conversation and answers are duplicates."""

from __future__ import annotations

from collections.abc import Sequence
from unicodedata import normalize

from promptmill_schemas import ids
from promptmill_schemas.message import Message


def normalised(text: str) -> str:
    """The text without differences in case, white space and compatibility forms.

    This applies Unicode NFKC, full case folding, and NFKC again, because case folding can undo it.
    Runs of white space become one space.
    """
    if not text.isascii():
        text = normalize("NFKC", normalize("NFKC", text).casefold())
    return " ".join(text.casefold().split())


def content_digest(kind: str, turns: Sequence[Sequence[str]], answers: Sequence[str]) -> str:
    """The id of a record's content.

    Args:
        kind: of the record; a pair is other content than its chosen side.
        turns: what the record continues, ``[[role, text], …]``, texts in normal form.
        answers: in normal form, the chosen one first.
    """
    return ids.digest("content", kind, [list(turn) for turn in turns], list(answers))


def content_key(
    kind: str, prompt: Sequence[Message], chosen: str, rejected: str | None = None
) -> str:
    """The id of a record's content, from its texts as they are.

    Args:
        prompt: what the record continues, without its answer.
    """
    turns = [[message.role, normalised(message.content)] for message in prompt]
    answers = [text for text in (chosen, rejected) if text is not None]
    return content_digest(kind, turns, list(map(normalised, answers)))
