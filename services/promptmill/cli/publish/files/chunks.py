"""The bytes of an open file or pipe in chunks, decompressed if necessary."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from typing import BinaryIO, Final

from promptmill.cli.publish.files.formats import HEAD_BYTES, Compression, compression_of, refusal

CHUNK_BYTES: Final = 256 * 1024
MAGIC_BYTES: Final = 8
"""Bytes of a pipe that are enough to recognise a compressed file; a line may be shorter."""


class Chunks:
    """The bytes of a descriptor; the first ones can be inspected before they are read.

    The methods ``read``, ``close`` and ``closed`` are those that pyarrow needs of a file.

    Attributes:
        done: the number of bytes read so far.
    """

    closed = False

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._head = b""
        self.done = 0

    @property
    def is_file(self) -> bool:
        """Whether it is a file on a disk, and not a pipe or terminal."""
        return stat.S_ISREG(os.fstat(self._descriptor).st_mode)

    @property
    def size(self) -> int | None:
        """The size of the file in bytes; ``None`` for a pipe."""
        return os.fstat(self._descriptor).st_size or None

    def head(self) -> bytes:
        """Return the first bytes; from a pipe, at least a line or enough to recognise a format."""
        wanted = HEAD_BYTES if self.is_file else MAGIC_BYTES
        while len(self._head) < wanted and (self.is_file or b"\n" not in self._head):
            if not (more := self._read(HEAD_BYTES)):
                break
            self._head += more
        return self._head

    def read(self, size: int = CHUNK_BYTES) -> bytes:
        """Read at most ``size`` bytes; the result is empty at the end."""
        if self._head:
            chunk, self._head = self._head[:size], self._head[size:]
            return chunk
        return self._read(size)

    def file(self) -> BinaryIO:
        """Return the whole file from its beginning, for random access."""
        os.lseek(self._descriptor, 0, os.SEEK_SET)
        self.done = self.size or 0
        return os.fdopen(os.dup(self._descriptor), "rb")

    def close(self) -> None:
        """Do nothing; the descriptor stays open, because it belongs to the caller."""

    def _read(self, size: int) -> bytes:
        chunk = os.read(self._descriptor, size)
        self.done += len(chunk)
        return chunk

    def __iter__(self) -> Iterator[bytes]:
        while chunk := self.read():
            yield chunk


def uncompressed(chunks: Chunks, name: str) -> Iterator[bytes]:
    """Yield the content of a file, decompressed if necessary.

    Raises:
        Misconfigured: the compressed data is damaged or truncated.
    """
    codec = compression_of(chunks.head())
    return iter(chunks) if codec is None else _decompressed(chunks, codec, name)


def _decompressed(chunks: Chunks, codec: Compression, name: str) -> Iterator[bytes]:
    import pyarrow as pa

    with pa.CompressedInputStream(pa.PythonFile(chunks, mode="r"), codec.value) as stream:
        while True:
            try:
                chunk = stream.read(CHUNK_BYTES)
            except (OSError, pa.ArrowException) as error:
                what = f"damaged or truncated ({codec.value}: {_first_line(error)})"
                raise refusal(name, what, "download or write the file again") from error
            if not chunk:
                return
            yield chunk


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]
