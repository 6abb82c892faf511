"""The policy: limits by attribute and reward, and the number of answers to keep.

A policy is data. Every record and reject has its version, which is its name and a digest of its
content, so different policies always have different versions.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from functools import cached_property
from typing import Annotated, Any, Final, Literal, Self, get_args

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from promptmill.dedup.near import LEAST_SIMILARITY
from promptmill_schemas import ATTRIBUTES, Check, ContractError, GradedCandidate, ids
from promptmill_schemas.finish_reasons import WITHHELD, finish_reason_of

Mode = Literal["best", "top-k", "all", "preference"]
Reasoning = Literal["whole", "absent"]
Calls = Literal["with-text", "absent"]
Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
Measure = Literal["helpfulness", "correctness", "coherence", "complexity", "verbosity", "reward"]

MEASURES: Final[tuple[Measure, ...]] = get_args(Measure)

DEFAULT_MIN_HELPFULNESS: Final = 3.0
"""No limit was published with the Nemotron-4 models; public notebooks drop what is below."""

DEFAULT_MIN_MARGIN: Final = 0.5
VERSION_DIGITS: Final = 12


class Bounds(BaseModel):
    """The least and the greatest value that pass, both inclusive."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    min: float | None = None
    max: float | None = None


def default_limits() -> dict[Measure, Bounds]:
    """Return the default limits: a helpfulness of at least 3.0."""
    return {"helpfulness": Bounds(min=DEFAULT_MIN_HELPFULNESS)}


class Policy(BaseModel):
    """Which answers become training records.

    Attributes:
        mode: ``best``: one record of the best answer that passes; ``top-k`` and ``all``: one
            for each of several; ``preference``: the best against the worst answer.
        limits: by attribute, and for the weighted ``reward``.
        top_k: number of records at most; mode ``top-k`` only.
        min_margin: least reward that the chosen answer is ahead; mode ``preference`` only.
        allow_truncated: take answers that ended because their tokens ran out
            (finish reason ``length``).
        reasoning: ``whole`` takes answers with a reasoning that is neither empty nor cut off,
            ``absent`` those without one; ``None`` does not look at it.
        tool_calls: ``with-text`` refuses answers that consist only of calls of tools, ``absent``
            all answers with calls; ``None`` takes both.
        max_disagreement: greatest difference between the opinions of several judges, or of both
            orders of a comparison; ``None`` does not look at it.
        duplicate_similarity: Jaccard similarity from which on content counts as a duplicate;
            ``None``: only equal content does.
        duplicate_folding: ``False`` lets case, white space and compatibility forms make a
            difference between near-duplicates; ``None`` folds them.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    name: Name = "default"
    mode: Mode = "best"
    limits: dict[Measure, Bounds] = Field(default_factory=default_limits)
    top_k: int | None = Field(default=None, ge=1)
    min_margin: float | None = Field(default=None, gt=0)
    allow_truncated: bool = False
    reasoning: Reasoning | None = None
    tool_calls: Calls | None = None
    max_disagreement: float | None = Field(default=None, ge=0)
    duplicate_similarity: float | None = Field(default=None, ge=LEAST_SIMILARITY, le=1)
    duplicate_folding: Literal[False] | None = None

    @model_validator(mode="after")
    def _bounds_leave_room(self) -> Self:
        for measure, bounds in self.limits.items():
            if bounds.min is not None and bounds.max is not None and bounds.min > bounds.max:
                limit = f"at most max_{measure}, which is {bounds.max}"
                raise ContractError(
                    f"min_{measure}", bounds.min, limit, "lower the minimum or raise the maximum"
                )
        return self

    @model_validator(mode="after")
    def _settings_fit_the_mode(self) -> Self:
        if self.mode == "top-k" and self.top_k is None:
            raise ContractError(
                "top_k", None, "it is required in mode top-k", "set top_k, or use mode all"
            )
        for name, mode in (("top_k", "top-k"), ("min_margin", "preference")):
            if (value := getattr(self, name)) is not None and self.mode != mode:
                remedy = f"remove the setting, or use mode {mode}"
                limit = f"it has no effect in mode {self.mode}"
                raise ContractError(name, value, limit, remedy)
        return self

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """Return a changed and checked copy, which has its own version."""
        del deep  # there is nothing in a policy that could be changed
        return type(self).model_validate({**self.model_dump(), **(update or {})})

    @cached_property
    def version(self) -> str:
        """``name@digest``, with the digest of everything that affects decisions."""
        content = self.model_dump(mode="json", exclude={"name"}, exclude_none=True)
        if self.mode == "preference":
            content["min_margin"] = self.margin
        return f"{self.name}@{ids.digest('policy', content)[:VERSION_DIGITS]}"

    @property
    def folds_duplicates(self) -> bool:
        """Whether near-duplicates are compared without case and white space."""
        return self.duplicate_folding is None

    @property
    def margin(self) -> float:
        """The least margin of reward for a chosen answer."""
        return DEFAULT_MIN_MARGIN if self.min_margin is None else self.min_margin

    def wanted(self, options: int) -> int:
        """Return the number of options that become records."""
        if self.mode == "all":
            return options
        return 1 if self.top_k is None else min(self.top_k, options)

    def failed(self, answer: GradedCandidate, refusal: str | None) -> tuple[Check, ...]:
        """Return the checks that the answer fails; without any, it may become a record."""
        if answer.scores is None or answer.reward is None:
            ungraded = Check(name="graded", detail=refusal or "the answer has no grades")
            return (ungraded, *self._failed_form(answer))
        values = {name: getattr(answer.scores, name) for name in ATTRIBUTES}
        values["reward"] = answer.reward
        failed = [*self._failed_form(answer), *self._failed_limits(values)]
        greatest, found = self.max_disagreement, answer.disagreement
        if greatest is not None and found is not None and found > greatest:
            failed.append(_off("max_disagreement", found, greatest))
        return tuple(failed)

    def _failed_form(self, answer: GradedCandidate) -> list[Check]:
        failed = []
        if not answer.text.strip() and not answer.tool_calls:
            failed.append(Check(name="text", detail="the answer has no text"))
        if ending := self._failed_ending(answer):
            failed.append(Check(name="finish_reason", detail=ending))
        if fault := self._failed_reasoning(answer):
            failed.append(Check(name="reasoning", detail=fault))
        if fault := self._failed_calls(answer):
            failed.append(Check(name="tool_calls", detail=fault))
        return failed

    def _failed_reasoning(self, answer: GradedCandidate) -> str:
        """What is wrong with the answer's reasoning; empty if nothing is."""
        trace = answer.reasoning_content
        if self.reasoning == "absent":
            return "" if not trace else "the answer has a reasoning, and none is wanted"
        if self.reasoning is None:
            return ""
        if trace is None:
            return "the answer has no reasoning"
        if not trace.strip():
            return "the answer's reasoning is empty"
        cut = finish_reason_of(answer.finish_reason) == "length" and not answer.text.strip()
        return "the reasoning was cut off before the answer" if cut else ""

    def _failed_calls(self, answer: GradedCandidate) -> str:
        """What is wrong with the answer's calls of tools; empty if nothing is."""
        if not answer.tool_calls or self.tool_calls is None:
            return ""
        if self.tool_calls == "absent":
            return "the answer calls a tool, and no calls are wanted"
        return "" if answer.text.strip() else "the answer consists only of calls of tools"

    def _failed_ending(self, answer: GradedCandidate) -> str:
        """Why the answer does not count as whole; empty if it does."""
        reason = finish_reason_of(answer.finish_reason)
        if reason == "stop" or (reason == "length" and self.allow_truncated):
            return ""
        if reason == "tool_calls" and answer.tool_calls:
            return ""
        if reason == "length":
            return f"the answer was cut off after {answer.completion_tokens} tokens"
        if reason == "tool_calls":
            return "the answer ends with a call of a tool, and the prompt offers none"
        if reason in WITHHELD:
            return f"the answer was withheld or cut off by the server: {reason}"
        return f"the answer may be incomplete: its finish reason is {answer.finish_reason[:40]!r}"

    def _failed_limits(self, values: dict[str, Any]) -> list[Check]:
        failed = []
        for measure, bounds in self.limits.items():
            value = values[measure]
            if bounds.min is not None and value < bounds.min:
                failed.append(_off(f"min_{measure}", value, bounds.min))
            if bounds.max is not None and value > bounds.max:
                failed.append(_off(f"max_{measure}", value, bounds.max))
        return failed


def _off(name: str, value: float, limit: float) -> Check:
    return Check(name=name, value=value, limit=limit, margin=distance(value, limit))


def distance(value: float, other: float) -> float:
    """Return the distance of two finite numbers, which is finite too, as contracts require."""
    return min(abs(value - other), sys.float_info.max)
