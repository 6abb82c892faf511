"""Rows of labelled answers in the formats of RewardBench and HelpSteer2."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from promptmill.runtime.errors import Misconfigured
from promptmill_schemas import ATTRIBUTES, ContractError, Message
from promptmill_schemas.base import contract_error, parse_json
from promptmill_schemas.prompt import Text

TURN = "<extra_id_1>"
"""The token before each later turn in a HelpSteer2 prompt; the role follows on its line."""

_ROLES = {"User": "user", "Assistant": "assistant", "System": "system"}


def _as_turns(value: Any) -> Any:
    """Parse a conversation that is given as text: the user's turn, then marked turns."""
    if not isinstance(value, str):
        return value
    first, *later = value.split(TURN)
    turns = [{"role": "user", "content": first.strip("\n") if later else first}]
    for turn in later:
        role, _, content = turn.partition("\n")
        turns.append({"role": _ROLES.get(role.strip(), role), "content": content.strip("\n")})
    return turns


def _as_answer(value: Any) -> Any:
    """The answer's text, which may also be given as a list of one turn."""
    if isinstance(value, list) and len(value) == 1 and isinstance(value[0], dict):
        return value[0].get("content")
    return value


Turns = Annotated[tuple[Message, ...], BeforeValidator(_as_turns), Field(min_length=1)]
Answer = Annotated[str, BeforeValidator(_as_answer)]
Score = Annotated[float, Field(ge=0, le=4)]
Row = TypeVar("Row", bound=BaseModel)


class Pair(BaseModel):
    """A row of RewardBench: the grader should reward ``chosen`` more than ``rejected``."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    prompt: Turns
    chosen: Answer
    rejected: Answer
    subset: Text = "all"


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


def read_pairs(file: Path) -> list[Pair]:
    """Read all pairs; raises ``Misconfigured`` with the number of an invalid line."""
    return [_checked(Pair, file, number, row) for number, row in _lines(file)]


def read_rated(file: Path) -> list[Rated]:
    """Read all rated answers; raises ``Misconfigured`` with the number of an invalid line."""
    return [_checked(Rated, file, number, row) for number, row in _lines(file)]


def _lines(file: Path) -> Iterator[tuple[int, bytes]]:
    lines = [(n, row) for n, row in enumerate(file.read_bytes().splitlines(), 1) if row.strip()]
    if not lines:
        raise Misconfigured(f"{file} has no lines; give a file with one JSON object per line")
    return iter(lines)


def _checked(kind: type[Row], file: Path, number: int, raw: bytes) -> Row:
    try:
        return kind.model_validate(parse_json(raw))
    except ValidationError as error:
        raise Misconfigured(f"{file} line {number}: {contract_error(error)}") from error
    except ContractError as error:
        raise Misconfigured(f"{file} line {number}: {error}") from error
