"""Splits of an export: the choice of a record's split, and the files with its rows."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pyarrow as pa

from promptmill.export.files import RowFile, open_file
from promptmill.export.formats.format import FileFormat, Row

TRAIN: Final = "train"
VALIDATION: Final = "validation"
DATA: Final = "data"
"""The folder of the shards, as in the Hub's own data sets."""

_SALT: Final = b"promptmill/split/"
_RANGE: Final = 1 << 64


def split_of(prompt_id: str, validation: float) -> str:
    """Return the split of all records of a prompt; it depends only on the arguments.

    A larger share moves prompts from ``train`` to ``validation``, and never back.

    Args:
        prompt_id: the prompt's id. If two answers to one prompt were in different splits, the
            validation would measure memorised prompts.
        validation: the share of the prompts in ``validation``, from 0 to 1.
    """
    digest = hashlib.blake2b(_SALT + prompt_id.encode(), digest_size=8).digest()
    return VALIDATION if int.from_bytes(digest, "big") < validation * _RANGE else TRAIN


@dataclass(frozen=True, slots=True)
class WrittenFile:
    """A complete file.

    Attributes:
        path: relative to the folder of the export.
        rows: the number of rows.
        size: the size in bytes.
        sha256: the digest of its content.
    """

    path: str
    rows: int
    size: int
    sha256: str


class ShardedFiles:
    """The rows of one split, in files of about the same size.

    Args:
        folder: the folder of the export.
        split: the name of the split.
        form: the format of the files.
        schema: the columns of the rows.
        shard_bytes: the size after which a file is complete.
    """

    def __init__(
        self, folder: Path, split: str, form: FileFormat, schema: pa.Schema, shard_bytes: int
    ) -> None:
        self._folder = folder
        self._split = split
        self._form = form
        self._schema = schema
        self._shard_bytes = shard_bytes
        self._done: list[tuple[Path, WrittenFile]] = []
        self._file: RowFile | None = None

    def write_rows(self, rows: Sequence[Row]) -> None:
        """Append the rows of complete records, which are never divided between files."""
        file = self._current()
        file.write_rows(rows)
        self._roll(file)

    def write_table(self, table: pa.Table) -> None:
        """Append the rows of this table."""
        file = self._current()
        file.write_table(table)
        self._roll(file)

    def close(self) -> list[WrittenFile]:
        """Complete the last file, and rename all files, since their names contain their number."""
        if self._file is not None or not self._done:
            self._complete(self._current())
        return [self._renamed(number) for number in range(len(self._done))]

    def _current(self) -> RowFile:
        if self._file is None:
            self._file = open_file(self._draft(), self._form, self._schema, self._shard_bytes)
        return self._file

    def _draft(self) -> Path:
        return self._folder / DATA / f"{self._split}-{len(self._done):05d}.part"

    def _roll(self, file: RowFile) -> None:
        if file.size >= self._shard_bytes:
            self._complete(file)

    def _complete(self, file: RowFile) -> None:
        draft = self._draft()
        digest = file.close()
        self._done.append((draft, WrittenFile("", file.rows, draft.stat().st_size, digest)))
        self._file = None

    def _renamed(self, number: int) -> WrittenFile:
        draft, found = self._done[number]
        name = f"{self._split}-{number:05d}-of-{len(self._done):05d}.{self._form}"
        draft.rename(draft.with_name(name))
        return WrittenFile(f"{DATA}/{name}", found.rows, found.size, found.sha256)
