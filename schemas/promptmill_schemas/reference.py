"""The ground truth of a prompt, against which answers can be checked: one typed union."""

from __future__ import annotations

from typing import Annotated, Literal, Self, TypeAlias

from pydantic import Field, model_validator

from promptmill_schemas.base import Contract
from promptmill_schemas.errors import LocalError
from promptmill_schemas.fields import Items, JsonObject, Label, OrAbsent, Text
from promptmill_schemas.limits import MAX_REFERENCE_ITEMS


class AnswerReference(Contract):
    """A known answer, for example the result of a calculation."""

    kind: Literal["answer"]
    answer: Text


class ChoiceReference(Contract):
    """The correct one of several choices.

    Attributes:
        choice: the correct choice as answers name it: a letter or a whole text.
        choices: all choices, if they are known.
    """

    kind: Literal["choice"]
    choice: Text
    choices: OrAbsent[Items[Text]] = Field(default=None, max_length=MAX_REFERENCE_ITEMS)


class ProgramCase(Contract):
    """An input of a program, and the output that is expected."""

    stdin: str
    stdout: str


class UnitTestsReference(Contract):
    """Tests that a program in the answer must pass.

    Attributes:
        language: the language of the program and the tests.
        tests: the source text of tests, each of which can run alone with the program.
        cases: inputs and expected outputs; a reference has tests, cases or both.
        entry_point: the function that the tests call.
    """

    kind: Literal["unit_tests"]
    language: Label = "python"
    tests: OrAbsent[Items[Text]] = Field(default=None, max_length=MAX_REFERENCE_ITEMS)
    cases: OrAbsent[Items[ProgramCase]] = Field(default=None, max_length=MAX_REFERENCE_ITEMS)
    entry_point: OrAbsent[Label] = None

    @model_validator(mode="after")
    def _tests_something(self) -> Self:
        if self.tests is None and self.cases is None:
            limit = "unit tests need tests or cases"
            raise LocalError("tests", None, limit, "give at least one test or case")
        return self


class SchemaReference(Contract):
    """A JSON Schema that the answer must satisfy."""

    kind: Literal["schema"]
    json_schema: JsonObject


class Constraint(Contract):
    """An instruction that a program can verify, by name and with arguments.

    The names are those of the data set, for example IFEval's ``length_constraints:number_words``.
    """

    name: Label
    arguments: OrAbsent[JsonObject] = None


class ConstraintsReference(Contract):
    """All verifiable instructions that the answer must follow."""

    kind: Literal["constraints"]
    constraints: Items[Constraint] = Field(min_length=1, max_length=MAX_REFERENCE_ITEMS)


Reference: TypeAlias = Annotated[
    AnswerReference | ChoiceReference | UnitTestsReference | SchemaReference | ConstraintsReference,
    Field(discriminator="kind"),
]
