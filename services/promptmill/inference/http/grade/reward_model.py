"""The wire format of NVIDIA's reward models: scores in a chat completion, in two encodings.

The text is ``helpfulness:1.6171875,correctness:1.6484375,…``, and the log-probabilities have one
entry per score, ``{"token": "helpfulness", "logprob": 1.6171875}``. Either encoding suffices.
Several oddities are accepted: these "log-probabilities" are positive, ``finish_reason`` is
``length``, ``created``, ``model`` and ``object`` may be null, and the message may be a list that
contains one object. Models after Nemotron-4-340B-Reward return a single score, ``reward:-18.7``.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from promptmill.inference.http.address import Address
from promptmill.inference.http.answer import content_of, first_choice
from promptmill.inference.http.chat import chat_messages
from promptmill.inference.http.errors import Malformed, NotFinite, Unreadable
from promptmill.inference.http.server import ServedModel
from promptmill.inference.ports import GradeRequest
from promptmill.inference.scores import Heads, read_heads
from promptmill_schemas import AttributeScores

SINGLE_SCORES = {"reward", "score"}
"""The names that models with a single score give to it."""


class RewardModelFormat:
    """The wire format in which scores are identified by name.

    Args:
        names: see :func:`~promptmill.inference.scores.read_heads`. The first reply determines
            which name belongs to which attribute.
    """

    engine = "openai-nim"
    revision = ""

    def __init__(self, names: Mapping[str, str] | None = None) -> None:
        self._names = names
        self._labels: tuple[str, ...] = ()
        self._heads: Heads | None = None

    def url(self, address: Address) -> str:
        """The chat endpoint."""
        return address.chat

    def fields(self, model: ServedModel, request: GradeRequest, _faults: int) -> dict[str, Any]:
        """The request body: the conversation with the answer as its last turn."""
        answer = {"role": "assistant", "content": request.answer}
        return {
            "model": model.name,
            "messages": [*chat_messages(request.messages), answer],
            "stream": False,
        }

    def read(self, reply: Any) -> AttributeScores:
        """Parse the five raw scores of a reply in either encoding."""
        scores = named_scores(reply)
        heads = self._heads or self._settle(list(scores))
        missing = [label for label in self._labels if label not in scores]
        if missing:
            raise Unreadable(f"the answer has no {', '.join(missing)}, only {', '.join(scores)}")
        return heads.scores([scores[label] for label in self._labels])

    def simplify(self) -> bool:
        """Return ``False``, because the request cannot be simplified."""
        return False

    def _settle(self, labels: list[str]) -> Heads:
        if len(labels) == 1 and not self._names and labels[0].lower() not in SINGLE_SCORES:
            raise Malformed(f"the answer has only the score {labels[0]!r}, but five are expected")
        self._labels = tuple(labels)
        self._heads = read_heads(labels, self._names)
        return self._heads


def named_scores(reply: Any) -> dict[str, float]:
    """The scores of a reply by name, in the server's order.

    Raises:
        NotFinite: a score is NaN or infinite.
        Unreadable: the reply contains neither encoding.
    """
    choice = first_choice(reply)
    scores = _collected(_in_text(choice)) or _collected(_in_logprobs(choice))
    if not scores:
        raise Unreadable(
            "the answer contains no scores, neither in its text (name:score,…) nor in its "
            f"logprobs: {str(choice)[:120]}"
        )
    for name, score in scores.items():
        if not math.isfinite(score):
            raise NotFinite(f"{name} is {score}: a score must be a finite number")
    return scores


def _collected(pairs: Iterable[tuple[str, Any]]) -> dict[str, float] | None:
    """The scores by name; ``None`` if a name or number is missing, or a name is repeated."""
    scores: dict[str, float] = {}
    for name, value in pairs:
        number = _number(value)
        if not name or number is None or name in scores:
            return None
        scores[name] = number
    return scores


def _in_text(choice: dict[str, Any]) -> Iterable[tuple[str, Any]]:
    """The names and scores in the message's text; none if the message is malformed."""
    try:
        text = content_of(choice) or ""
    except Malformed:
        return
    for part in text.split(","):
        name, _, score = part.rpartition(":")
        yield name.strip(), score


def _in_logprobs(choice: Mapping[str, Any]) -> Iterable[tuple[str, Any]]:
    """The names and scores in the log-probabilities."""
    logprobs = choice.get("logprobs")
    entries = logprobs.get("content") if isinstance(logprobs, dict) else None
    for entry in entries if isinstance(entries, list) else ():
        named = entry if isinstance(entry, dict) else {}
        yield str(named.get("token") or ""), named.get("logprob")


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        return float(value)
    except (ValueError, OverflowError):
        return None
