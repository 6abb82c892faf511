"""Grades from a model behind an HTTP server, in any of the wire formats."""

from __future__ import annotations

from typing import Any, Protocol

import orjson
import structlog

from promptmill.inference.http.address import Address, parse_base_url
from promptmill.inference.http.client import Client
from promptmill.inference.http.options import HttpOptions
from promptmill.inference.http.server import ServedModel, find_model
from promptmill.inference.ports import GradeRequest, GraderInfo, Load
from promptmill.runtime.errors import EngineDead, Poison
from promptmill_schemas import AttributeScores, Message


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


log = structlog.get_logger(__name__)

CANARY = GradeRequest(
    "canary", (Message(role="user", content="Are you there?"),), answer="Yes, I am."
)


class HttpGrader:
    """A grader; answers are separate requests."""

    def __init__(self, options: HttpOptions, form: GradeForm) -> None:
        address = parse_base_url(options.base_url)
        self._form = form
        self._url = form.url(address)
        self._client = Client(address, options, self._ask_canary)
        self._model: ServedModel | None = None

    @property
    def info(self) -> GraderInfo:
        """What grades."""
        return GraderInfo(self._form.engine, self._served.name, self._form.revision)

    @property
    def load(self) -> Load:
        """Requests at the server, and those that wait for a slot there."""
        return self._client.load

    @property
    def context_tokens(self) -> int:
        """Longest conversation with its answer, 0 where the server does not tell."""
        return self._served.context_tokens

    async def start(self) -> None:
        """Find the model; returns when it has graded once."""
        await self._client.start(self._find_model)
        log.info("server_ready", url=self._url, model=self._served.name, grader=self._form.engine)

    async def grade(self, request: GradeRequest) -> AttributeScores:
        """Raw scores; see :class:`~promptmill.inference.ports.GraderEngine`."""
        return await self._client.call(
            self._url, lambda faults: self._body(request, faults), self._form.read
        )

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()

    @property
    def _served(self) -> ServedModel:
        if self._model is None:
            raise EngineDead("the engine has not been started")
        return self._model

    async def _find_model(self) -> None:
        self._model = await find_model(self._client)

    async def _ask_canary(self) -> None:
        try:
            reply = await self._client.transport.post(self._url, self._body(CANARY, 0))
        except Poison as error:
            if not self._form.soften():
                raise
            log.warning("grading_softened", refused=str(error))
            reply = await self._client.transport.post(self._url, self._body(CANARY, 0))
        self._form.read(reply)

    def _body(self, request: GradeRequest, faults: int) -> bytes:
        return orjson.dumps(self._form.fields(self._served, request, faults))
