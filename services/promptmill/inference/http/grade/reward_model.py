"""The wire format of NVIDIA's reward models: scores as a chat answer, in two encodings.

The answer's text is ``helpfulness:1.6171875,correctness:1.6484375,…``, and its log-probabilities
hold one entry for each score, ``{"token": "helpfulness", "logprob": 1.6171875}``. Either will
do. These "log-probabilities" are positive, ``finish_reason`` is ``length``, ``created``,
``model`` and ``object`` may be null, and the message has been seen as a list of one: none of
this is an error. Models after Nemotron-4-340B-Reward answer with one score, ``reward:-18.7``.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from promptmill.inference.http.address import Address
from promptmill.inference.http.answer import content_of, first_choice
from promptmill.inference.http.errors import Malformed, NotFinite, Unreadable
from promptmill.inference.http.generate import chat_messages
from promptmill.inference.http.server import ServedModel
from promptmill.inference.ports import GradeRequest
from promptmill.inference.scores import Heads, read_heads
from promptmill_schemas import AttributeScores

SINGLE_SCORES = {"reward", "score"}
"""What models with one score call it."""


class RewardForm:
    """Scores by name.

    Args:
        names: see :func:`~promptmill.inference.scores.read_heads`; which name is which
            attribute is settled by the first reply.
    """

    engine = "openai-nim"
    revision = ""

    def __init__(self, names: Mapping[str, str] | None = None) -> None:
        self._names = names
        self._labels: tuple[str, ...] = ()
        self._heads: Heads | None = None

    def url(self, address: Address) -> str:
        """The chat endpoint."""
        return f"{address.api}/chat/completions"

    def fields(self, model: ServedModel, request: GradeRequest, _faults: int) -> dict[str, Any]:
        """The conversation with the answer as its last turn."""
        answer = {"role": "assistant", "content": request.answer}
        return {
            "model": model.name,
            "messages": [*chat_messages(request.messages), answer],
            "stream": False,
        }

    def read(self, reply: Any) -> AttributeScores:
        """The five scores in either encoding."""
        scores = named_scores(reply)
        heads = self._heads or self._settle(list(scores))
        missing = [label for label in self._labels if label not in scores]
        if missing:
            raise Unreadable(f"the answer has no {', '.join(missing)}, only {', '.join(scores)}")
        return heads.scores([scores[label] for label in self._labels])

    def soften(self) -> bool:
        """There is nothing to leave out."""
        return False

    def _settle(self, labels: list[str]) -> Heads:
        if len(labels) == 1 and not self._names and labels[0].lower() not in SINGLE_SCORES:
            raise Malformed(f"the answer has only the score {labels[0]!r}, but five are expected")
        self._labels = tuple(labels)
        self._heads = read_heads(labels, self._names)
        return self._heads


def named_scores(reply: Any) -> dict[str, float]:
    """The scores of a reply by their names, in the server's order.

    Raises:
        NotFinite: one of them is no finite number.
        Unreadable: neither encoding is there.
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
    """The scores by name, ``None`` when one has no name or number, or a name comes twice."""
    scores: dict[str, float] = {}
    for name, value in pairs:
        number = _number(value)
        if not name or number is None or name in scores:
            return None
        scores[name] = number
    return scores


def _in_text(choice: dict[str, Any]) -> Iterable[tuple[str, Any]]:
    """Names and numbers in the message; one that is none leaves the other encoding."""
    try:
        text = content_of(choice) or ""
    except Malformed:
        return
    for part in text.split(","):
        name, _, score = part.rpartition(":")
        yield name.strip(), score


def _in_logprobs(choice: Mapping[str, Any]) -> Iterable[tuple[str, Any]]:
    """Names and numbers in the list of tokens."""
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
