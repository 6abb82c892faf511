"""A chat model as grader: it is given a rubric and asked for the five scores."""

from __future__ import annotations

from typing import Any

from promptmill.core.engines.base import GradeRequest
from promptmill.core.engines.openai.address import Address
from promptmill.core.engines.openai.answer import content_of, first_choice, refusal_of
from promptmill.core.engines.openai.dialect import sampling_fields
from promptmill.core.engines.openai.failures import Unreadable
from promptmill.core.engines.openai.models import ServedModel
from promptmill.core.engines.openai.rubric import RUBRIC, SCHEMA, judge_messages, read_verdict
from promptmill.core.errors import Poison
from promptmill_schemas import AttributeScores, Sampling, StructuredOutput
from promptmill_schemas.ids import text_digest

_WARMTH = 0.25
"""Added to the temperature with each malformed verdict: asked the same, a judge says the same."""


class JudgeForm:
    """Verdicts as JSON, held to their form by the server where it can.

    Args:
        rubric: what each attribute means, from 0 to 4; promptmill's own if ``None``.
        max_tokens: of a verdict, with the thoughts of a model that thinks aloud.
    """

    engine = "openai-judge"

    def __init__(self, rubric: str | None = None, max_tokens: int = 512) -> None:
        self._rubric = rubric or RUBRIC
        self._max_tokens = max_tokens
        self._form: StructuredOutput | None = StructuredOutput(json_schema=SCHEMA)
        self.revision = f"rubric-{text_digest(self._rubric)[:12]}"

    def url(self, address: Address) -> str:
        """The chat endpoint."""
        return f"{address.api}/chat/completions"

    def fields(self, model: ServedModel, request: GradeRequest, faults: int) -> dict[str, Any]:
        """The rubric and the material; cold at first, warmer when asked again."""
        sampling = Sampling(
            temperature=min(faults * _WARMTH, 1.0),
            max_tokens=self._max_tokens,
            structured=self._form,
        )
        return {
            "model": model.name,
            "messages": judge_messages(self._rubric, request.messages, request.answer),
            **sampling_fields(model.server, sampling, seed=faults),
        }

    def read(self, reply: Any) -> AttributeScores:
        """The verdict; raises ``Poison`` when the judge gives none on purpose."""
        choice = first_choice(reply)
        if refusal := refusal_of(choice):
            raise Poison(f"the judge refuses to grade this answer: {refusal[:200]}")
        text = content_of(choice)
        if not text and choice.get("finish_reason") == "length":
            raise Poison(
                "the judge used up its tokens before giving a verdict; raise --judge-tokens"
            )
        if not text:
            raise Unreadable(
                "the judge's answer is empty; raise --judge-tokens if the model reasons before "
                "it answers"
            )
        return read_verdict(text)

    def soften(self) -> bool:
        """Do without the server's help; the verdict is checked as strictly."""
        had_form, self._form = self._form is not None, None
        return had_form
