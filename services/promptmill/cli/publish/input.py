"""The bytes of a file, a pipe or a terminal, in chunks, without blocking the event loop."""

from __future__ import annotations

import asyncio
import os
import stat
import threading
from collections.abc import AsyncGenerator, AsyncIterator

from promptmill.cli.publish.splitting import LineSplitter, RawLine

CHUNK_BYTES = 256 * 1024
CHUNKS_AHEAD = 4


async def read_lines(descriptor: int) -> AsyncGenerator[list[RawLine]]:
    """The lines of an open file, pipe or terminal, as many at once as have arrived.

    Memory stays bounded. No whole line waits for the next chunk.
    """
    splitter = LineSplitter()
    async for chunk in read_chunks(descriptor):
        if lines := splitter.feed(chunk):
            yield lines
    if lines := splitter.end():
        yield lines


def read_chunks(descriptor: int) -> AsyncIterator[bytes]:
    """What can be read, until the end."""
    if stat.S_ISREG(os.fstat(descriptor).st_mode):
        return _from_disk(descriptor)
    return _from_pipe(descriptor)


async def _from_disk(descriptor: int) -> AsyncIterator[bytes]:
    while chunk := os.read(descriptor, CHUNK_BYTES):
        yield chunk
        await asyncio.sleep(0)


async def _from_pipe(descriptor: int) -> AsyncIterator[bytes]:
    """Reads in a thread that Ctrl-C need not wait for."""
    loop, queue = asyncio.get_running_loop(), asyncio.Queue[bytes | OSError]()
    free = threading.Semaphore(CHUNKS_AHEAD)

    def read() -> None:
        while True:
            free.acquire()
            try:
                chunk: bytes | OSError = os.read(descriptor, CHUNK_BYTES)
            except OSError as error:
                chunk = error
            try:
                loop.call_soon_threadsafe(queue.put_nowait, chunk)
            except RuntimeError:  # the loop is closed: nobody wants to know
                return
            if not chunk or isinstance(chunk, OSError):
                return

    threading.Thread(target=read, name="input", daemon=True).start()
    while True:
        chunk = await queue.get()
        if isinstance(chunk, OSError):
            raise chunk
        if not chunk:
            return
        free.release()
        yield chunk
