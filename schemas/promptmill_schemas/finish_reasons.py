"""Finish reasons: the words of servers, translated to those of the OpenAI API.

==================  ===========================================================================
finish reason       meaning
==================  ===========================================================================
``stop``            the answer is complete
``length``          the token limit was reached, so the answer is cut off
``content_filter``  a filter of the server withheld the answer or a part of it
``refusal``         the model refused to answer
``tool_calls``      the answer ends with tool calls
==================  ===========================================================================

After any other word (``abort``, ``error``, ``insufficient_system_resource``, …), the answer may be
incomplete.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal

FinishReason = Literal["stop", "length", "content_filter", "refusal", "tool_calls"]

WITHHELD: Final = frozenset[FinishReason]({"content_filter", "refusal"})
"""The finish reasons of answers that the server or the model withheld deliberately."""

_SYNONYMS: Final[Mapping[FinishReason, tuple[str, ...]]] = {
    "stop": ("eos", "eos_token", "stop_sequence", "end_turn"),
    "length": (
        "max_tokens",
        "max_output_tokens",
        "model_length",
        "model_context_window_exceeded",
        "repetition",
    ),
    "content_filter": (
        "content_filtered",
        "guardrail_intervened",
        "safety",
        "recitation",
        "blocklist",
        "prohibited_content",
        "spii",
        "sensitive",
    ),
    "refusal": (),
    "tool_calls": ("tool_call", "tool_use", "function_call"),
}

_MEANINGS: Final[Mapping[str, FinishReason]] = {
    word: reason for reason, words in _SYNONYMS.items() for word in (reason, *words)
}


def finish_reason_of(word: object) -> FinishReason | None:
    """Return the finish reason for a server's word in any case; ``None`` if it is unknown."""
    return _MEANINGS.get(word.strip().lower()) if isinstance(word, str) else None
