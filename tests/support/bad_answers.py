"""What a bad server may answer: good answers, and every way to fail."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import orjson
from aiohttp import web

Behaviour = Callable[[web.Request], Awaitable[web.StreamResponse]]

SCORES = {
    "helpfulness": 1.6171875,
    "correctness": 1.6484375,
    "coherence": 3.3125,
    "complexity": 0.546875,
    "verbosity": 0.515625,
}


def json_response(body: Any) -> web.Response:
    """Status 200 with this JSON value."""
    return web.Response(body=orjson.dumps(body), content_type="application/json")


def answering(body: Any) -> Behaviour:
    """This JSON value."""

    async def behave(_request: web.Request) -> web.StreamResponse:
        return json_response(body)

    return behave


def chat_body(content: Any, **choice: Any) -> dict[str, Any]:
    """A chat answer with this content."""
    message = {"role": "assistant", "content": content}
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "model": "m",
        "choices": [{"index": 0, "message": message, "finish_reason": "stop"} | choice],
        "usage": {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10},
    }


def chat(content: Any = "Yes.", **choice: Any) -> Behaviour:
    """A good chat answer."""
    return answering(chat_body(content, **choice))


def scores_text(scores: Mapping[str, Any] = SCORES) -> str:
    """Scores as a reward model writes them."""
    return ",".join(f"{name}:{score}" for name, score in scores.items())


def reward(scores: Mapping[str, Any] = SCORES) -> Behaviour:
    """A good answer of a reward model, recorded with all of its oddities."""
    entries = [
        {"token": name, "bytes": None, "logprob": score, "top_logprobs": []}
        for name, score in scores.items()
    ]
    body = chat_body(None, finish_reason="length", logprobs={"content": entries})
    body["choices"][0]["message"] = [{"role": "assistant", "content": scores_text(scores)}]
    return answering(body | {"created": None, "model": None, "object": None, "usage": None})


def status(code: int, message: str = "as told", **headers: str) -> Behaviour:
    """An error status; ``Retry_After="3"`` becomes a header."""

    async def behave(_request: web.Request) -> web.StreamResponse:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        body = orjson.dumps({"error": {"message": message, "type": "test", "code": code}})
        return web.Response(status=code, body=body, headers=named, content_type="application/json")

    return behave


def refused_as(code: str, status_code: int = 400) -> Behaviour:
    """An error status whose error has a name of the server's own."""

    async def behave(_request: web.Request) -> web.StreamResponse:
        body = orjson.dumps({"error": {"message": "as told", "type": "test", "code": code}})
        return web.Response(status=status_code, body=body, content_type="application/json")

    return behave


def error_body(status_code: int, body: Any) -> Behaviour:
    """A status with this JSON value."""

    async def behave(_request: web.Request) -> web.StreamResponse:
        content = orjson.dumps(body)
        return web.Response(status=status_code, body=content, content_type="application/json")

    return behave


def raw(body: bytes, content_type: str = "application/json") -> Behaviour:
    """Status 200 with any bytes."""

    async def behave(_request: web.Request) -> web.StreamResponse:
        return web.Response(body=body, content_type=content_type)

    return behave


def slow(seconds: float, then: Behaviour) -> Behaviour:
    """An answer that takes its time."""

    async def behave(request: web.Request) -> web.StreamResponse:
        await asyncio.sleep(seconds)
        return await then(request)

    return behave


def cut(after: bytes | None = None) -> Behaviour:
    """The connection is cut: before the answer, or within its body after these bytes."""

    async def behave(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": "1000"})
        if after is not None:
            await response.prepare(request)
            await response.write(after)
        if request.transport is not None:
            request.transport.abort()
        return response

    return behave


def huge(size: int) -> Behaviour:
    """A body of this size, whose length is not announced."""

    async def behave(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        chunk = b" " * (1 << 20)
        for _ in range(size >> 20):
            await response.write(chunk)
        return response

    return behave


def drip() -> Behaviour:
    """A body that comes byte by byte and never ends."""

    async def behave(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        while True:
            await response.write(b" ")
            await asyncio.sleep(0.02)

    return behave


def faults(good: Behaviour) -> list[Behaviour]:
    """Every passing fault, quick enough for many of them."""
    return [
        status(500),
        status(502),
        status(503, Retry_After="0.05"),
        status(429),
        status(429, Retry_After="0.05"),
        status(401, "no such key"),
        cut(),
        cut(b'{"choices": [{"mess'),
        raw(b"<html>Bad gateway</html>", "text/html"),
        raw(b""),
        raw(b"null"),
        raw(b'{"choices": []}'),
        raw(b'{"error": {"message": "overloaded"}}'),
        raw(b'{"choices": [{"message": null, "finish_reason": null}]}'),
        chat(None, finish_reason=None),
        chat(scores_text(SCORES | {"helpfulness": "nan"})),
        raw(b'{"choices": [{"logprobs": {"content": [{"token": "reward", "logprob": NaN}]}}]}'),
        slow(0.2, good),
        slow(1.5, good),
    ]
