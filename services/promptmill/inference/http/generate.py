"""A generator on an OpenAI-compatible server."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import structlog

from promptmill.inference.http.address import parse_base_url
from promptmill.inference.http.answer import check_structured_output, read_answer
from promptmill.inference.http.chat import chat_messages, prompt_fields
from promptmill.inference.http.client import Client
from promptmill.inference.http.dialect import sampling_fields
from promptmill.inference.http.errors import NotFound, Withheld
from promptmill.inference.http.options import Api, HttpOptions
from promptmill.inference.http.server import ServedModel, find_model, served_names
from promptmill.inference.ports import Answer, GenerateRequest, Load, Trouble
from promptmill.inference.reasoning import split_reasoning
from promptmill.runtime.errors import EngineDead, Poison, PromptmillError
from promptmill_schemas import Generator, Message, Sampling

log = structlog.get_logger(__name__)

CANARY = GenerateRequest(
    "canary",
    (Message(role="user", content="Are you there?"),),
    Sampling(temperature=0.7, top_p=0.95, max_tokens=16),
    seed=(1 << 63) - 1,
)
"""The first request: it has the fields that the requests for prompts have, and a large seed."""

_TOOLS = ("tools", "functions")
_NO_ROOM = re.compile(r"max_(completion_)?tokens|context length", re.IGNORECASE)


class HttpGenerator:
    """A generator on a server. Each candidate is a separate request with its own seed.

    Args:
        options: the model, the server and its limits.
        api: the endpoint; ``completions`` is for base models, which have no chat template.
    """

    def __init__(self, options: HttpOptions, api: Api = "chat") -> None:
        address = parse_base_url(options.base_url)
        self._api = api
        self._client = Client(address, options, self._ask_canary)
        self._extra_body = options.extra_body
        self._model: ServedModel | None = None

    @property
    def _url(self) -> str:
        address = self._client.address
        return address.chat if self._api == "chat" else f"{address.api}/completions"

    @property
    def info(self) -> Generator:
        """The generator's identity."""
        return Generator(engine="openai", model=self._served.name)

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

    @property
    def tokenizer(self) -> str:
        """Empty, because the tokenizer is on the server."""
        return ""

    async def start(self) -> None:
        """Find the model, and return when it has answered the canary."""
        await self._client.start(self._find_model)
        log.info(
            "server_ready",
            url=self._url,
            model=self._served.name,
            server=self._served.server,
            context_tokens=self.context_tokens,
        )

    async def generate(self, request: GenerateRequest) -> Answer:
        """Generate one answer; see :class:`~promptmill.inference.ports.GeneratorEngine`.

        If the server refuses ``max_tokens`` because the rest of the context is shorter, the
        request is repeated without it, and the context limits the answer. A prompt that the
        server's content filter refuses has an empty answer.
        """
        fields = self._fields(request)
        try:
            return await self._ask(fields, request)
        except Withheld as error:
            log.info("prompt_withheld", request=request.request_id, error=str(error))
            return Answer("", "content_filter", prompt_tokens=0, completion_tokens=0)
        except Poison as error:
            if not _NO_ROOM.search(str(error)):
                raise
            limits = {"max_tokens", "max_completion_tokens"}
            unlimited = {name: value for name, value in fields.items() if name not in limits}
            return await self._ask(unlimited, request)

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()

    async def _ask(self, fields: dict[str, Any], request: GenerateRequest) -> Answer:
        structured = request.sampling.structured

        def read(reply: Any) -> Answer:
            answer = read_answer(self._api, reply)
            if answer.tool_calls and not self._offers_tools(fields):
                answer = _without_calls(answer, request)
            if structured is not None and answer.finish_reason == "stop":
                check_structured_output(split_reasoning(answer.text).answer, structured)
            return answer

        async def not_found(error: NotFound) -> Poison | None:
            return await self._missing_adapter(str(request.adapter), error)

        return await self._client.call(
            self._url, lambda _faults: fields, read, not_found if request.adapter else None
        )

    def _offers_tools(self, fields: dict[str, Any]) -> bool:
        """Whether the request has tools, from the prompt or from the settings."""
        return any(fields.get(name) or self._extra_body.get(name) for name in _TOOLS)

    async def _missing_adapter(self, name: str, error: NotFound) -> Poison | None:
        """The error for a missing adapter; ``None`` if the canary's model is missing as well."""
        names = await served_names(self._client)
        is_missing = bool(names) and name not in names
        if not is_missing and not await self._canary_succeeds():
            return None
        offers = ", ".join(names) or "no list of models"
        return Poison(
            f"the server does not have adapter {name!r} ({error}); it offers {offers}: correct "
            "the prompt's adapter, or load it on the server"
        )

    async def _canary_succeeds(self) -> bool:
        try:
            await self._ask_canary()
        except PromptmillError:
            return False
        return True

    @property
    def _served(self) -> ServedModel:
        if self._model is None:
            raise EngineDead("the engine has not been started")
        return self._model

    async def _find_model(self) -> None:
        self._model = await find_model(self._client)

    async def _ask_canary(self) -> None:
        reply = await self._client.send(self._url, self._fields(CANARY))
        read_answer(self._api, reply)

    def _fields(self, request: GenerateRequest) -> dict[str, Any]:
        fields: dict[str, Any] = {"model": request.adapter or self._served.name}
        if self._api == "chat":
            fields["messages"] = chat_messages(request.messages)
        else:
            fields["prompt"] = "\n\n".join(message.content for message in request.messages)
        fields |= sampling_fields(self._served.server, request.sampling, request.seed)
        if request.sampling.logprobs:
            fields["logprobs"] = True if self._api == "chat" else 1
        return fields | prompt_fields(
            request.tools, request.chat_template_kwargs, request.extra_body
        )


def _without_calls(answer: Answer, request: GenerateRequest) -> Answer:
    """The answer without its calls of tools that the prompt does not have.

    Its finish reason says that it ended with calls, and the filter's check of it fails.
    """
    log.info("tool_calls_dropped", request=request.request_id, calls=len(answer.tool_calls or ()))
    return replace(answer, tool_calls=None, finish_reason="tool_calls")
