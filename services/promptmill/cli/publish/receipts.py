"""Receipts: one line of JSON for each line of input, with the id of its prompt or its error."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

import orjson

from promptmill.cli.publish.lines import findings_of
from promptmill.cli.publish.ports import LineResult
from promptmill.runtime.errors import Misconfigured, Unavailable


class Receipts:
    """A file of receipts; without a path, nothing is written."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._file: BinaryIO | None = None

    def __enter__(self) -> Self:
        if self._path is not None:
            try:
                self._file = self._path.open("wb")
            except OSError as error:
                raise Misconfigured(
                    f"cannot write receipts to {self._path}: {error}; choose another --receipts"
                ) from error
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._file is not None:
            with self._written_to(self._file) as file:
                file.flush()
                if stat.S_ISREG(os.fstat(file.fileno()).st_mode):  # a pipe cannot be synchronised
                    os.fsync(file.fileno())
                file.close()

    def write(self, result: LineResult) -> None:
        """Write the receipt of one line.

        Raises:
            Unavailable: the file cannot be written, for example because the disk is full. Later
                receipts are not written.
        """
        if self._file is not None:
            with self._written_to(self._file) as file:
                file.write(orjson.dumps(receipt(result), option=orjson.OPT_APPEND_NEWLINE))

    @contextmanager
    def _written_to(self, file: BinaryIO) -> Iterator[BinaryIO]:
        try:
            yield file
        except OSError as error:
            self._file = None
            with suppress(OSError):
                file.close()
            raise Unavailable(
                f"cannot write receipts to {self._path}: {error}; free some space or choose "
                "another --receipts, and publish the file again: nothing is published twice"
            ) from error


def receipt(result: LineResult) -> dict[str, Any]:
    """Return ``{"line", "prompt_id"}``, or ``{"line", "error"}`` with the parts of the error.

    With several files, ``file`` names the line's file. With several errors, ``findings`` lists
    them.
    """
    place: dict[str, Any] = {} if result.file is None else {"file": result.file}
    place["line"] = result.number
    if result.error is None:
        return place | {"prompt_id": result.prompt_id}
    place |= {"error": str(result.error), **result.error.as_dict()}
    findings = findings_of(result.error)
    return place | ({"findings": [f.as_dict() for f in findings]} if len(findings) > 1 else {})
