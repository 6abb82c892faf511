"""A chat server that costs nothing: the same answer to every request after a fixed time.

Benchmarks measure clients with it; a server on a web framework would itself be the limit.

    python tests/bench/fast_server.py --latency-s 0.05
"""

from __future__ import annotations

import argparse
import asyncio
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import cast

import orjson
import uvloop

sys.path.insert(0, str(Path(__file__).parent.parent))

from support.bad_answers import chat_body, scores_text

GENERATED = orjson.dumps(chat_body("Thirteen has no divisors but one and itself. " * 4))
GRADED = orjson.dumps(chat_body(scores_text(), finish_reason="length"))
MODELS = orjson.dumps({"object": "list", "data": [{"id": "fast", "max_model_len": 4096}]})


@contextmanager
def fast_server(latency_s: float) -> Iterator[str]:
    """The URL of a server process that ends with the block."""
    command = [sys.executable, __file__, "--latency-s", str(latency_s)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield process.stdout.readline().strip()
        finally:
            process.terminate()


class Connection(asyncio.Protocol):
    """One kept-alive connection; requests come one after the other."""

    latency_s = 0.05

    def __init__(self) -> None:
        self._buffer = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop has classes of its own

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head, gap, rest = self._buffer.partition(b"\r\n\r\n")
        if not gap:
            return
        _, named, length = head.lower().partition(b"content-length: ")
        wanted = int(length.split(b"\r\n")[0]) if named else 0
        if len(rest) < wanted:
            return
        self._buffer = rest[wanted:]
        asyncio.get_running_loop().call_later(self.latency_s, self._answer, head, rest[:wanted])

    def _answer(self, head: bytes, body: bytes) -> None:
        if self._transport is None or self._transport.is_closing():
            return
        answer = GRADED if b'"role":"assistant"' in body else GENERATED
        answer = MODELS if head.startswith(b"GET") else answer
        self._transport.write(
            b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
            b"Content-Length: %d\r\n\r\n%b" % (len(answer), answer)
        )


async def serve(latency_s: float) -> None:
    """Until the process is told to stop."""
    Connection.latency_s = latency_s
    server = await asyncio.get_running_loop().create_server(Connection, "127.0.0.1", 0)
    print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1", flush=True)
    await server.serve_forever()


def main() -> None:
    parser = argparse.ArgumentParser(description="Serve one answer, after a fixed time.")
    parser.add_argument("--latency-s", type=float, default=0.05)
    uvloop.run(serve(parser.parse_args().latency_s))


if __name__ == "__main__":
    main()
