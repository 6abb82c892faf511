"""Splits inline reasoning from the final answer by the tags of known models."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from promptmill.runtime.errors import Misconfigured

Tags = tuple[str, str]

KNOWN: Final[tuple[Tags, ...]] = (
    ("<think>", "</think>"),
    ("<thinking>", "</thinking>"),
    ("<thought>", "</thought>"),
    ("<reasoning>", "</reasoning>"),
    ("<seed:think>", "</seed:think>"),
    ("[THINK]", "[/THINK]"),
    ("◁think▷", "◁/think▷"),
    ("<|begin_of_thought|>", "<|end_of_thought|>"),
    (
        "<|channel|>analysis<|message|>",
        "<|end|><|start|>assistant<|channel|>final<|message|>",
    ),
)
"""DeepSeek, Qwen, Nemotron and others, then Seed, Magistral, Kimi, Sky-T1 and gpt-oss."""


@dataclass(frozen=True, slots=True)
class Split:
    """An answer in its two parts.

    Attributes:
        answer: the final answer; empty if the text ended within the reasoning.
        reasoning: what is between the tags; ``None`` if there is none.
    """

    answer: str
    reasoning: str | None = None


def split_reasoning(text: str, tags: Sequence[Tags] = KNOWN) -> Split:
    """Split the text at the first pair of tags that it uses.

    The opening tag counts at the beginning of the text only, so that an answer may mention it. It
    may be missing, because some chat templates write it at the end of the prompt. White space
    between the parts belongs to neither.
    """
    begun = text.lstrip()
    for opening, closing in tags:
        if begun.startswith(opening):
            reasoning, _, answer = begun.removeprefix(opening).partition(closing)
            if not answer.lstrip().startswith(opening):
                return Split(answer.lstrip(), reasoning.strip())
            more = split_reasoning(answer, tags)  # it thinks in several parts
            return Split(more.answer, f"{reasoning.strip()}\n\n{more.reasoning}".strip())
    for opening, closing in tags:
        reasoning, found, answer = text.partition(closing)
        if found and opening not in reasoning:
            return Split(answer.lstrip(), reasoning.strip())
    return Split(text)


def read_tags(text: str) -> tuple[Tags, ...]:
    """The setting ``reasoning_tags``: ``auto``, ``none``, or an opening and a closing tag.

    Raises:
        Misconfigured: the text is none of these.
    """
    if text in {"auto", "none"}:
        return KNOWN if text == "auto" else ()
    parts = text.split()
    if len(parts) != 2 or parts[0] == parts[1]:
        raise Misconfigured(
            f"reasoning_tags is {text!r}: it can be auto, none, or two different tags; write the "
            "opening and the closing tag with a space between them"
        )
    return ((parts[0], parts[1]),)
