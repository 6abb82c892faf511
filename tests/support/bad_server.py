"""An OpenAI-compatible server that misbehaves in every way a server can, as it is told.

In a test::

    async with BadServer(lambda call: status(503) if call.number == 1 else chat("Hello.")) as bad:
        ... bad.base_url, bad.calls

As a process of its own, for load runs, answers after 50 ms and fails three calls in ten::

    python tests/support/bad_server.py --latency-s 0.05 --faults 0.3
"""

from __future__ import annotations

import argparse
import asyncio
import ssl
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from types import TracebackType
from typing import Any, Self

import orjson
from aiohttp import web

sys.path.insert(0, str(Path(__file__).parent.parent))

from support.bad_answers import Behaviour, chat, faults, json_response, reward, slow


@dataclass(frozen=True)
class Call:
    """One request as it arrived; ``number`` counts from 1."""

    number: int
    path: str
    headers: Mapping[str, str]
    body: dict[str, Any]
    at: float = field(default_factory=time.monotonic)

    @property
    def said(self) -> str:
        """The text of the first message."""
        return str(self.body.get("messages", [{}])[0].get("content", ""))


class BadServer:
    """A server on a free port of loopback; ``behave`` chooses what each POST meets.

    Attributes:
        calls: every POST so far; a test may forget them.
        models: what ``GET /v1/models`` answers; ``None`` is not found.
        peak: most requests that were here at once.
    """

    def __init__(
        self,
        behave: Callable[[Call], Behaviour],
        models: list[dict[str, Any]] | None = None,
        port: int = 0,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.calls: list[Call] = []
        self.models = models
        self.peak = 0
        self._behave = behave
        self._number = 0
        self._present = 0
        self._port = port
        self._tls = tls
        self._runner: web.AppRunner | None = None

    async def __aenter__(self) -> Self:
        app = web.Application(client_max_size=1 << 26)
        app.router.add_get("/v1/models", self._list_models)
        app.router.add_post("/{path:.*}", self._answer)
        self._runner = web.AppRunner(
            app, access_log=None, shutdown_timeout=0.1, handler_cancellation=True
        )
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self._port, ssl_context=self._tls).start()
        self._port = self._runner.addresses[0][1]
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    @property
    def port(self) -> int:
        """The port it listens on; the same one when it is started again."""
        return self._port

    @property
    def base_url(self) -> str:
        """What a user gives as ``--base-url``."""
        scheme = "https" if self._tls else "http"
        host = "localhost" if self._tls else "127.0.0.1"
        return f"{scheme}://{host}:{self._port}/v1"

    async def _list_models(self, _request: web.Request) -> web.Response:
        if self.models is None:
            return web.Response(status=404)
        return json_response({"object": "list", "data": self.models})

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        body = orjson.loads(await request.read())
        self._number += 1
        call = Call(self._number, request.path, request.headers, body)
        self.calls.append(call)
        self._present += 1
        self.peak = max(self.peak, self._present)
        try:
            return await self._behave(call)(request)
        finally:
            self._present -= 1


def faulty(
    share: float, good: Callable[[Call], Behaviour], seed: int = 0
) -> Callable[[Call], Behaviour]:
    """``good``, except for this share of the calls, which meet a fault by chance."""
    draws = Random(seed)

    def behave(call: Call) -> Behaviour:
        answer = good(call)
        return draws.choice(faults(answer)) if draws.random() < share else answer

    return behave


def answer_of_both_kinds(call: Call) -> Behaviour:
    """Scores for a conversation that ends with an answer, an answer for any other."""
    ends_with_answer = call.body["messages"][-1]["role"] == "assistant"
    return reward() if ends_with_answer else chat(f"About {call.said[:40]}: yes.")


async def serve(args: argparse.Namespace) -> None:
    """Until the process is told to stop."""

    def good(call: Call) -> Behaviour:
        return slow(args.latency_s, answer_of_both_kinds(call))

    behave = faulty(args.faults, good, args.seed) if args.faults else good
    async with BadServer(behave, [{"id": "bad", "max_model_len": 4096}], args.port) as server:
        print(server.base_url, flush=True)
        await asyncio.Event().wait()


def main() -> int:
    parser = argparse.ArgumentParser(description="Serve chat answers and scores, badly.")
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    parser.add_argument("--latency-s", type=float, default=0.05)
    parser.add_argument("--faults", type=float, default=0.0, help="share of the calls, 0 to 1")
    parser.add_argument("--seed", type=int, default=0)
    try:
        asyncio.run(serve(parser.parse_args()))
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
