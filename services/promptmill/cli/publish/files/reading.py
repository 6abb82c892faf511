"""Reading the rows of all inputs, in order, without blocking the event loop for long.

Files on a disk are read a chunk at a time. Pipes and data sets on a hub are read in a thread, so
that Ctrl-C takes effect at once.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, Iterable, Iterator
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Final

from promptmill.cli.publish.files.chunks import Chunks, uncompressed
from promptmill.cli.publish.files.formats import (
    DELIMITERS,
    InputFormat,
    compression_of,
    format_of,
    refusal,
)
from promptmill.cli.publish.files.hub import hub_rows
from promptmill.cli.publish.files.inputs import Input, opened
from promptmill.cli.publish.files.json_values import ValueSplitter
from promptmill.cli.publish.files.splitting import UTF8_BOM, LineSplitter, RawLine
from promptmill.cli.publish.files.tables import csv_rows, parquet_rows

BATCHES_AHEAD: Final = 4

Rows = Iterator[list[RawLine]]


@dataclass(slots=True)
class ReadProgress:
    """The number of bytes read from all inputs."""

    before: int = 0
    chunks: Chunks | None = field(default=None, repr=False)

    @property
    def done(self) -> int:
        """The number of bytes read so far."""
        return self.before + (0 if self.chunks is None else self.chunks.done)

    def begin(self, chunks: Chunks) -> None:
        """Continue with the next file."""
        self.before, self.chunks = self.done, chunks


async def read_inputs(
    inputs: Iterable[Input], progress: ReadProgress | None = None
) -> AsyncGenerator[list[RawLine]]:
    """Yield the rows of the inputs, one input after the other, with bounded memory.

    Raises:
        Misconfigured: a file cannot be read; the message names it, its format and the remedy.
        Unavailable: a hub does not answer.
    """
    progress = progress or ReadProgress()
    for each in inputs:
        async with aclosing(_read_input(each, progress)) as batches:
            async for rows in batches:
                yield rows if each.file is None else [r._replace(file=each.file) for r in rows]


async def _read_input(each: Input, progress: ReadProgress) -> AsyncGenerator[list[RawLine]]:
    if each.is_remote:
        async for rows in _in_thread(hub_rows(each.path)):
            yield rows
        return
    with opened(each) as descriptor:
        chunks = Chunks(descriptor)
        progress.begin(chunks)
        async for rows in read_opened(chunks, each):
            yield rows


def read_opened(chunks: Chunks, each: Input) -> AsyncGenerator[list[RawLine]]:
    """Yield the rows of an open file, pipe or terminal in batches, as they arrive.

    Memory is bounded. A complete line never waits for the next chunk.
    """
    rows = rows_of(chunks, each)
    return _in_turn(rows) if chunks.is_file else _in_thread(rows)


def rows_of(chunks: Chunks, each: Input) -> Rows:
    """Yield the rows of one file in batches; raise as :func:`read_inputs` does."""
    is_compressed = compression_of(chunks.head()) is not None
    content = uncompressed(chunks, each.name)
    head = _first(content) if is_compressed else chunks.head()
    kind = format_of(head, each.content_name)
    if kind is InputFormat.PARQUET:
        if is_compressed or not chunks.is_file:
            what = "Parquet in a pipe or compressed, although Parquet is read from its end"
            raise refusal(each.name, what, "give the uncompressed file itself")
        with chunks.file() as file:
            yield from parquet_rows(file, each.name)
        return
    whole = _joined(head, content) if is_compressed else content
    yield from _text_rows(whole, kind, each.name)


def _first(content: Iterator[bytes]) -> bytes:
    """Return the first chunk, which is enough to recognise the format."""
    return next(content, b"")


def _joined(head: bytes, rest: Iterator[bytes]) -> Iterator[bytes]:
    yield head
    yield from rest


def _text_rows(content: Iterator[bytes], kind: InputFormat, name: str) -> Rows:
    if kind in DELIMITERS:
        yield from csv_rows(content, kind, name)
        return
    if kind is InputFormat.VALUES:
        yield from _values(content, name)
        return
    lines = LineSplitter()
    for chunk in content:
        if found := lines.feed(chunk):
            yield found
    if found := lines.end():
        yield found


def _values(content: Iterator[bytes], name: str) -> Rows:
    values = ValueSplitter()
    first = next(content, b"").removeprefix(UTF8_BOM)
    for chunk in _joined(first, content):
        if found := values.feed(chunk):
            yield found
    if values.is_open:
        what = "truncated: its last value or array is not closed"
        raise refusal(
            name, what, "download or write the file again; the rows before the end were read"
        )
    if found := values.end():
        yield found


async def _in_turn(rows: Rows) -> AsyncGenerator[list[RawLine]]:
    for batch in rows:
        yield batch
        await asyncio.sleep(0)


async def _in_thread(rows: Rows) -> AsyncGenerator[list[RawLine]]:
    loop = asyncio.get_running_loop()
    queue = asyncio.Queue[list[RawLine] | Exception | None]()
    free, is_left = threading.Semaphore(BATCHES_AHEAD), threading.Event()

    def put(item: list[RawLine] | Exception | None) -> bool:
        free.acquire()
        try:
            loop.call_soon_threadsafe(queue.put_nowait, item)
        except RuntimeError:  # the loop is closed, so nothing waits for the result
            return False
        return not is_left.is_set()

    def read() -> None:
        end: Exception | None = None
        try:
            for batch in rows:
                if not put(batch):
                    return
        except Exception as error:  # noqa: BLE001 - raised where the rows are wanted
            end = error
        put(end)

    threading.Thread(target=read, name="input", daemon=True).start()
    try:
        while (batch := await queue.get()) is not None:
            if isinstance(batch, Exception):
                raise batch
            free.release()
            yield batch
    finally:
        is_left.set()
        free.release()
