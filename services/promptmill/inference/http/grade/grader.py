"""Graders on an HTTP server: of single answers and of pairs, and the port of their wire formats."""

from __future__ import annotations

from typing import Any, Generic, Protocol, TypeAlias, TypeVar

import structlog

from promptmill.inference.http.address import Address, parse_base_url
from promptmill.inference.http.client import Client
from promptmill.inference.http.options import HttpOptions
from promptmill.inference.http.server import ServedModel, find_model
from promptmill.inference.ports import (
    Compared,
    CompareRequest,
    GradeRequest,
    GraderInfo,
    Load,
    Trouble,
)
from promptmill.runtime.errors import EngineDead, Poison
from promptmill_schemas import AttributeScores, Message

log = structlog.get_logger(__name__)

Request = TypeVar("Request")
Result = TypeVar("Result")
Request_contra = TypeVar("Request_contra", contravariant=True)
Result_co = TypeVar("Result_co", covariant=True)

_QUESTION = (Message(role="user", content="Are you there?"),)
CANARY = GradeRequest("canary", _QUESTION, answer="Yes, I am.")
PAIR_CANARY = CompareRequest("canary", _QUESTION, first="Yes, I am.", second="Who asks?")


class Wire(Protocol[Request_contra, Result_co]):
    """How a grade is requested from one kind of grader, and how its reply is parsed."""

    @property
    def engine(self) -> str:
        """The engine's name in the records of its grades."""

    @property
    def revision(self) -> str:
        """An identifier of everything that the grades depend on besides the model."""

    def url(self, address: Address) -> str:
        """The endpoint."""

    def fields(self, model: ServedModel, request: Request_contra, faults: int) -> dict[str, Any]:
        """The request body; ``faults`` is the number of failed attempts."""

    def read(self, reply: Any) -> Result_co:
        """Parse the raw scores of a reply, which are finite.

        Raises:
            Malformed: the reply does not follow the wire format.
            Misconfigured: the scores do not match the settings.
        """

    def simplify(self) -> bool:
        """Omit optional fields from now on, because the server refused the canary.

        Returns:
            Whether there was a field to omit.
        """


WireFormat: TypeAlias = Wire[GradeRequest, AttributeScores]
PairFormat: TypeAlias = Wire[CompareRequest, Compared]


class _OnServer(Generic[Request, Result]):
    """A grader on a server, whose life is that of its connections."""

    def __init__(self, options: HttpOptions, form: Wire[Request, Result], canary: Request) -> None:
        self._form = form
        self._canary = canary
        self._client = Client(parse_base_url(options.base_url), options, self._ask_canary)
        self._model: ServedModel | None = None

    @property
    def info(self) -> GraderInfo:
        """The grader's identity."""
        return GraderInfo(self._form.engine, self._served.name, self._form.revision)

    @property
    def load(self) -> Load:
        """Requests that were sent to the server, and those that wait for the limiter."""
        return self._client.load

    @property
    def trouble(self) -> Trouble:
        """Why no request to the server succeeds at the moment."""
        return self._client.trouble

    @property
    def context_tokens(self) -> int:
        """Maximum tokens of a conversation with its answer; 0 if the server does not report it."""
        return self._served.context_tokens

    async def start(self) -> None:
        """Find the model, and return when it has answered the canary."""
        await self._client.start(self._find_model)
        log.info("server_ready", url=self._url, model=self._served.name, grader=self._form.engine)

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
            reply = await self._client.send(self._url, self._body(self._canary, 0))
        except Poison as error:
            if not self._form.simplify():
                raise
            log.warning("structured_output_disabled", refused=str(error))
            reply = await self._client.send(self._url, self._body(self._canary, 0))
        self._form.read(reply)

    @property
    def _url(self) -> str:
        return self._form.url(self._client.address)

    async def _ask(self, request: Request) -> Result:
        return await self._client.call(
            self._url, lambda faults: self._body(request, faults), self._form.read
        )

    def _body(self, request: Request, faults: int) -> dict[str, Any]:
        return self._form.fields(self._served, request, faults)


class HttpGrader(_OnServer[GradeRequest, AttributeScores]):
    """A grader on a server. Each answer is a separate request.

    Args:
        options: the model, the server and its limits.
        form: the wire format.
    """

    def __init__(self, options: HttpOptions, form: WireFormat) -> None:
        super().__init__(options, form, CANARY)

    async def grade(self, request: GradeRequest) -> AttributeScores:
        """Return the raw scores; see :class:`~promptmill.inference.ports.GraderEngine`."""
        return await self._ask(request)


class HttpComparer(_OnServer[CompareRequest, Compared]):
    """A grader on a server that compares two answers in each request."""

    def __init__(self, options: HttpOptions, form: PairFormat) -> None:
        super().__init__(options, form, PAIR_CANARY)

    async def compare(self, request: CompareRequest) -> Compared:
        """Return both scores; see :class:`~promptmill.inference.ports.ComparisonEngine`."""
        return await self._ask(request)
