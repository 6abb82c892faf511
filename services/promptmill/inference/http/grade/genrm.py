"""The wire format of generative reward models (GenRM), which compare two answers.

After the conversation, which ends with the user's turn, the answers are turns of the roles
``response_1`` and ``response_2``; the chat template of the model knows them. The model reasons, and
then writes ``{"score_1": 4, "score_2": 3, "ranking": 2}``: the helpfulness of each answer from 1 to
5, and a ranking from 1 (the first is much better) to 6 (the second is much better).
"""

from __future__ import annotations

from typing import Any, Final

from promptmill.inference.http.address import Address
from promptmill.inference.http.chat import chat_messages
from promptmill.inference.http.dialect import sampling_fields
from promptmill.inference.http.grade.judge import read_reply
from promptmill.inference.http.grade.verdict import Scale
from promptmill.inference.http.server import ServedModel
from promptmill.inference.ports import Compared, CompareRequest
from promptmill.inference.scores import SCALAR_ATTRIBUTES, SCALE
from promptmill_schemas import ATTRIBUTES, AttributeScores, Sampling
from promptmill_schemas.ids import text_digest

SCORES: Final = Scale(1, 5)
RANKING: Final = Scale(1, 6)
TOKENS: Final = 16_384
"""Maximum number of tokens of a comparison, most of which are reasoning."""

_WANTED: Final = {"score_1": SCORES, "score_2": SCORES, "ranking": RANKING}
_MIDDLE: Final = (RANKING.low + RANKING.high) / 2
_TIE_STEP: Final = 0.2
"""How far one step of the ranking moves equal scores apart, so that the order of scores stays."""


class GenRmFormat:
    """The wire format in which the answers have roles of their own.

    Args:
        principle: what the model should look at, for models with a role ``principle``.
        max_tokens: maximum number of tokens of a comparison, including the reasoning.
    """

    engine = "openai-genrm"

    def __init__(self, principle: str = "", max_tokens: int = TOKENS) -> None:
        self._principle = principle
        self._max_tokens = max_tokens
        self.revision = f"principle-{text_digest(principle)[:12]}" if principle else ""

    def url(self, address: Address) -> str:
        """The chat endpoint."""
        return address.chat

    def fields(self, model: ServedModel, request: CompareRequest, faults: int) -> dict[str, Any]:
        """The request body, with the sampling that the models were trained with."""
        sampling = Sampling(temperature=0.6, top_p=0.95, max_tokens=self._max_tokens)
        principle = {"role": "principle", "content": self._principle}
        return {
            "model": model.name,
            "messages": [
                *chat_messages(request.messages),
                *([principle] if self._principle else []),
                {"role": "response_1", "content": request.first},
                {"role": "response_2", "content": request.second},
            ],
            **sampling_fields(model.server, sampling, seed=faults),
        }

    def read(self, reply: Any) -> Compared:
        """Parse both scores of a reply; for errors see the wire format of a judge."""
        numbers = read_reply(reply, _WANTED)
        return compared(numbers["score_1"], numbers["score_2"], numbers["ranking"])

    def simplify(self) -> bool:
        """Return ``False``, because the request cannot be simplified."""
        return False


def compared(score_1: float, score_2: float, ranking: float) -> Compared:
    """The scores from 0 to 4 for those of a comparison.

    Equal scores are moved apart by the ranking, by half a point at most. As with other models that
    give a single score, complexity and verbosity are 0.
    """
    lead = (_MIDDLE - ranking) * _TIE_STEP if score_1 == score_2 else 0.0
    return _scores(score_1 + lead), _scores(score_2 - lead)


def _scores(score: float) -> AttributeScores:
    within = min(max(score, SCORES.low), SCORES.high)
    value = SCALE[0] + (SCALE[1] - SCALE[0]) * SCORES.share(within)
    return AttributeScores(
        **{name: value if name in SCALAR_ATTRIBUTES else 0.0 for name in ATTRIBUTES}
    )
