"""What one way of grading asks a server, and how it reads the reply."""

from __future__ import annotations

from typing import Any, Protocol

from promptmill.core.engines.base import GradeRequest
from promptmill.core.engines.openai.address import Address
from promptmill.core.engines.openai.models import ServedModel
from promptmill_schemas import AttributeScores


class GradeForm(Protocol):
    """The wire format of one kind of grader."""

    @property
    def engine(self) -> str:
        """The name under which its grades are recorded."""

    @property
    def revision(self) -> str:
        """What else its grades depend on."""

    def url(self, address: Address) -> str:
        """Where it is asked."""

    def fields(self, model: ServedModel, request: GradeRequest, faults: int) -> dict[str, Any]:
        """The request's body; ``faults`` counts the tries that have failed."""

    def read(self, reply: Any) -> AttributeScores:
        """Raw, finite scores.

        Raises:
            Malformed: the reply has another form.
            Misconfigured: its scores are not those that the settings name.
        """

    def soften(self) -> bool:
        """Ask for less after the server has refused a first request; whether there is less."""
