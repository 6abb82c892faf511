"""A rubric: a judge's instructions about the attributes, their scale, and examples of grades.

A rubric file is plain text, or TOML with these fields::

    scale = [1, 10]                       # whole numbers; 0 to 4 if absent
    instructions = "You grade the answers of a help desk."

    [attributes]                          # those that are absent are not asked for
    helpfulness = "How well the answer solves the customer's problem."
    correctness = { name = "accuracy", text = "Whether it agrees with the handbook." }

    [[examples]]
    prompt = "My router is dead."
    answer = "Buy a new one."
    scores = { helpfulness = 2, accuracy = 4 }

Scores on another scale are mapped linearly to 0 to 4. An attribute that is not asked for scores 0.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Final

import orjson
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from promptmill.inference.http.grade.verdict import Scale
from promptmill.inference.scores import SCALE
from promptmill.runtime.errors import Misconfigured
from promptmill_schemas import ATTRIBUTES, AttributeScores
from promptmill_schemas.base import contract_error
from promptmill_schemas.ids import text_digest

USUAL: Final = Scale(*SCALE)

MAX_STEPS: Final = 100
"""The largest difference between the ends of a scale."""

TASK: Final = "You grade the last answer of an assistant, strictly and without favour."

RUBRIC: Final = """\
helpfulness: how well the answer does what the user needs.
  0 useless or beside the point, 2 helps in part, 4 does all that was asked.
correctness: whether what it says is true, complete and as asked.
  0 wrong throughout, 2 right and wrong mixed, 4 without any error.
coherence: whether it is clear, consistent and in good order.
  0 cannot be followed, 2 can be followed with effort, 4 clear from beginning to end.
complexity: how much knowledge it takes to write such an answer.
  0 anybody could, 2 takes an education, 4 takes an expert.
verbosity: how long it is, measured by what was asked.
  0 terse, 2 as long as needed, 4 far longer than needed."""


@dataclass(frozen=True, slots=True)
class GradedExample:
    """A graded answer; the scores are by the rubric's names."""

    prompt: str
    answer: str
    scores: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Rubric:
    """A judge's instructions, and how its numbers become scores.

    Attributes:
        text: the meaning of each attribute, for the judge.
        names: the judge's name of each attribute that it is asked for.
        scale: the lowest and highest whole number.
        task: what the judge does, before the attributes.
        examples: graded answers.
    """

    text: str = RUBRIC
    names: Mapping[str, str] = field(default_factory=lambda: {name: name for name in ATTRIBUTES})
    scale: Scale = USUAL
    task: str = TASK
    examples: tuple[GradedExample, ...] = ()

    @property
    def revision(self) -> str:
        """An identifier of everything in the rubric."""
        examples = [[one.prompt, one.answer, dict(one.scores)] for one in self.examples]
        parts = [self.text, dict(self.names), self.scale.low, self.scale.high, self.task, examples]
        return f"rubric-{text_digest(orjson.dumps(parts).decode())[:12]}"

    def scores(self, numbers: Mapping[str, float]) -> AttributeScores:
        """The scores from 0 to 4 for the judge's numbers, which are by the rubric's names."""
        low, high = SCALE
        return AttributeScores(
            **{
                attribute: low + (high - low) * self.scale.share(numbers[self.names[attribute]])
                if attribute in self.names
                else 0.0
                for attribute in ATTRIBUTES
            }
        )

    def examples_text(self) -> str:
        """The examples for the judge; empty without any."""
        parts = [
            f"Question:\n{one.prompt}\nAnswer:\n{one.answer}\n"
            f"Grades: {orjson.dumps(dict(one.scores)).decode()}"
            for one in self.examples
        ]
        return (
            "\n\n".join(["\n\nThese answers have been graded as examples.", *parts])
            if parts
            else ""
        )


def read_rubric(path: Path) -> Rubric:
    """Read a rubric file.

    Raises:
        Misconfigured: the file cannot be read, is empty, or a field is invalid.
    """
    try:
        text = path.read_text("utf-8-sig").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise Misconfigured(f"rubric {path} cannot be read: {error}; give a text file") from error
    if not text:
        raise Misconfigured(f"rubric {path} is empty: describe what each attribute means")
    if path.suffix != ".toml":
        return Rubric(text)
    try:
        return _File.model_validate(tomllib.loads(text)).rubric()
    except tomllib.TOMLDecodeError as error:
        raise Misconfigured(f"rubric {path} is not valid TOML: {error}; correct it") from error
    except ValidationError as error:
        raise Misconfigured(f"rubric {path}: {contract_error(error)}") from error
    except Misconfigured as error:
        raise Misconfigured(f"rubric {path}: {error}") from error


_STRICT: Final = ConfigDict(frozen=True, extra="forbid")
_Words = Annotated[str, Field(min_length=1)]
_Name = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9 _-]{0,63}$")]


class _Attribute(BaseModel):
    model_config = _STRICT
    name: _Name | None = None
    text: _Words


def _as_attribute(value: Any) -> Any:
    return {"text": value} if isinstance(value, str) else value


_Described = Annotated[_Attribute, BeforeValidator(_as_attribute)]


class _Attributes(BaseModel):
    model_config = _STRICT
    helpfulness: _Described | None = None
    correctness: _Described | None = None
    coherence: _Described | None = None
    complexity: _Described | None = None
    verbosity: _Described | None = None


class _Example(BaseModel):
    model_config = _STRICT
    prompt: _Words
    answer: _Words
    scores: dict[str, float]


class _File(BaseModel):
    """The fields of a rubric file in TOML."""

    model_config = _STRICT
    scale: tuple[int, int] = (int(SCALE[0]), int(SCALE[1]))
    instructions: _Words = TASK
    attributes: _Attributes
    examples: list[_Example] = []

    def rubric(self) -> Rubric:
        """The rubric; raises ``Misconfigured`` if its fields contradict each other."""
        given = {name: each for name, each in self.attributes if each is not None}
        names = {attribute: each.name or attribute for attribute, each in given.items()}
        scale = self._scale()
        if not names or len({name.casefold() for name in names.values()}) < len(names):
            raise Misconfigured(
                f"attributes are {', '.join(names.values()) or 'none'}: at least one is required, "
                "each with a name of its own; correct [attributes]"
            )
        text = "\n".join(f"{names[attribute]}: {each.text}" for attribute, each in given.items())
        for number, example in enumerate(self.examples):
            _check_example(number, example, set(names.values()), scale)
        examples = tuple(GradedExample(e.prompt, e.answer, e.scores) for e in self.examples)
        return Rubric(text, names, scale, self.instructions, examples)

    def _scale(self) -> Scale:
        low, high = self.scale
        if not 0 < high - low <= MAX_STEPS:
            raise Misconfigured(
                f"scale is {low} to {high}: the second must be above the first, by at most "
                f"{MAX_STEPS}; give for example scale = [1, 10]"
            )
        return Scale(low, high)


def _check_example(number: int, example: _Example, names: set[str], scale: Scale) -> None:
    if example.scores.keys() != names:
        raise Misconfigured(
            f"examples.{number}.scores has {', '.join(example.scores)}: it must have "
            f"{', '.join(sorted(names))}; give one number for each attribute"
        )
    for name, score in example.scores.items():
        if not scale.low <= score <= scale.high:
            raise Misconfigured(
                f"examples.{number}.scores.{name} is {score:g}: it must lie between "
                f"{scale.low:g} and {scale.high:g}; correct it, or the scale"
            )
