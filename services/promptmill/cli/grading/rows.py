"""Rows of labelled answers, in the layouts of the data sets that graders are measured on.

Pairs come from RewardBench (one rejected answer), RewardBench 2 (several), UltraFeedback (whole
conversations) and HelpSteer3 (two responses and a preference); rated answers come from HelpSteer2.
A row without a preference cannot measure a grader; it raises :class:`Tie`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from promptmill_schemas import ATTRIBUTES, ContractError, Message
from promptmill_schemas.base import contract_error
from promptmill_schemas.errors import MISSING
from promptmill_schemas.fields import Text

TURN = "<extra_id_1>"
"""The token before each later turn in a HelpSteer2 prompt; the role follows on its line."""

ALL = "all"
"""The subset of rows that do not name one."""

SYSTEM = "<extra_id_0>"
"""The token before a system turn, with which a prompt may begin; all its turns are then marked."""

_ROLES = {"User": "user", "Assistant": "assistant", "System": "system"}
_RATINGS = (
    ("score_chosen", "score_rejected"),
    ("chosen_score", "rejected_score"),
    ("chosen-rating", "rejected-rating"),
)

Raw = Mapping[str, Any]
Row = TypeVar("Row", bound=BaseModel)


class Tie(Exception):
    """The annotators preferred neither answer."""


def as_turns(value: Any) -> Any:
    """Parse a conversation given as text: the user's turn, followed by marked turns."""
    if not isinstance(value, str):
        return value
    first, *later = value.split(TURN)
    turns = [{"role": "user", "content": first.strip("\n") if later else first}]
    if first.startswith(SYSTEM):
        turns, later = [], [first.removeprefix(SYSTEM), *later]
    for turn in later:
        role, _, content = turn.partition("\n")
        turns.append({"role": _ROLES.get(role.strip(), role), "content": content.strip("\n")})
    return turns


Turns = Annotated[tuple[Message, ...], BeforeValidator(as_turns), Field(min_length=1)]
Answers = Annotated[tuple[str, ...], Field(min_length=1)]
Score = Annotated[float, Field(ge=0, le=4)]


class Pair(BaseModel):
    """A prompt with answers; a grader should reward each ``chosen`` one above all ``rejected``."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    prompt: Turns
    chosen: Answers
    rejected: Answers
    subset: Text = ALL

    @property
    def answers(self) -> tuple[str, ...]:
        """The chosen answers, then the rejected ones."""
        return self.chosen + self.rejected


class Rated(BaseModel):
    """A row of HelpSteer2: an answer with five scores from 0 to 4."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    prompt: Turns
    response: str
    helpfulness: Score
    correctness: Score
    coherence: Score
    complexity: Score
    verbosity: Score

    @property
    def scores(self) -> tuple[float, ...]:
        """The scores in the order of the attributes."""
        return tuple(getattr(self, name) for name in ATTRIBUTES)


def read_chosen_rejected(row: Raw) -> Pair:
    """Parse a row of RewardBench, RewardBench 2 or UltraFeedback.

    Each side is a text, a list of texts, a turn, or a conversation that ends with the answer. The
    prompt may be missing if both sides are conversations.

    Raises:
        ContractError: a field is missing or invalid; the error names it.
        Tie: the ratings of both sides are equal, or an answer is on both sides.
    """
    for chosen, rejected in _RATINGS:
        if row.get(chosen) is not None and row.get(chosen) == row.get(rejected):
            raise Tie
    before, chosen_answers = _side(row, "chosen")
    before_rejected, rejected_answers = _side(row, "rejected")
    if before != before_rejected:
        raise ContractError(
            "rejected",
            before_rejected,
            "chosen and rejected must continue the same conversation",
            "give the conversation once, as prompt",
        )
    prompt = before or row.get("prompt", MISSING)
    return _pair(prompt, chosen_answers, rejected_answers, row.get("subset"))


def read_helpsteer3(row: Raw) -> Pair:
    """Parse a row of HelpSteer3's preferences; its domain becomes the subset.

    Raises:
        ContractError: a field is missing or invalid; the error names it.
        Tie: the overall preference is 0, or the responses are equal.
    """
    preference = _as_number(row.get("overall_preference", MISSING))
    if type(preference) not in {int, float} or not -3 <= preference <= 3:
        limit = "a number from -3 (response 1 is much better) to 3"
        raise ContractError("overall_preference", preference, limit, "give the preference")
    if preference == 0:
        raise Tie
    better, worse = ("response1", "response2") if preference < 0 else ("response2", "response1")
    chosen, rejected = _side(row, better)[1], _side(row, worse)[1]
    return _pair(row.get("context", MISSING), chosen, rejected, row.get("domain"))


def read_rated(row: Raw) -> Rated:
    """Parse a row of HelpSteer2; raise ``ContractError`` for an invalid field."""
    return _checked(Rated, row)


def _as_number(value: Any) -> Any:
    """Convert a number that a CSV file contains as text; return other values unchanged."""
    try:
        return float(value) if isinstance(value, str) else value
    except ValueError:
        return value


def _pair(prompt: Any, chosen: list[Any], rejected: list[Any], subset: Any) -> Pair:
    given = {"prompt": prompt, "chosen": chosen, "rejected": rejected, "subset": subset or ALL}
    pair = _checked(Pair, given)
    if set(pair.chosen) & set(pair.rejected):
        raise Tie
    return pair


def _side(row: Raw, name: str) -> tuple[list[Any], list[Any]]:
    """Split one side into its conversation, which may be empty, and its answers."""
    value = row.get(name, MISSING)
    turns = [value] if isinstance(value, dict) else value
    if isinstance(turns, list) and turns and all(isinstance(turn, dict) for turn in turns):
        *before, last = turns
        _require_answer(name, last)
        return before, [last.get("content")]
    answers = value if isinstance(value, list) else [value]
    for answer in answers:
        if not isinstance(answer, str):
            limit = "a text, a list of texts, or turns that end with the answer"
            raise ContractError(name, answer, limit, "give the answer as text")
    return [], answers


def _require_answer(name: str, turn: Raw) -> None:
    if turn.get("role") not in {"assistant", None}:
        raise ContractError(
            f"{name}.role", turn.get("role"), "the last turn must be the assistant's", "add it"
        )


def _checked(kind: type[Row], fields: Raw) -> Row:
    given = {name: value for name, value in fields.items() if value is not MISSING}
    try:
        return kind.model_validate(given)
    except ValidationError as error:
        raise contract_error(error) from error
