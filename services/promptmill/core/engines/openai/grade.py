"""Grades from a model behind an HTTP server, in any of the wire formats."""

from __future__ import annotations

import orjson
import structlog

from promptmill.core.engines.base import GradeRequest, GraderInfo, Load
from promptmill.core.engines.openai.address import parse_base_url
from promptmill.core.engines.openai.client import Client
from promptmill.core.engines.openai.form import GradeForm
from promptmill.core.engines.openai.models import ServedModel, find_model
from promptmill.core.engines.openai.options import HttpOptions
from promptmill.core.errors import EngineDead, Poison
from promptmill_schemas import AttributeScores, Message

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
        """Raw scores; see :class:`~promptmill.core.engines.base.GraderEngine`."""
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
