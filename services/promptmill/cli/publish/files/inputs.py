"""The inputs that the argument of ``publish`` names: standard input, files or a data set."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple

from promptmill.cli.publish.files.formats import (
    AS_PARQUET,
    COMPRESSED_SUFFIXES,
    DATA_SUFFIXES,
    READABLE,
)
from promptmill.runtime.errors import Misconfigured

STANDARD_INPUT: Final = "-"
HUB: Final = "hf://"
ABOUT_DATA: Final = {
    *("dataset_info.json", "dataset_infos.json", "dataset_dict.json", "state.json"),
}
"""The names of files that ``datasets`` writes next to the data."""

OF_ARCHIVERS: Final = "__MACOSX"
UNREADABLE: Final = {
    *(".arrow", ".feather", ".orc", ".avro", ".xlsx", ".xls", ".ods", ".pkl", ".db", ".sqlite"),
    *(".zip", ".tar", ".tgz", ".7z", ".rar", ".xz", ".lz4", ".txt"),
}
"""The suffixes of data that cannot be read without a conversion."""


SHOWN: Final = 5


class Input(NamedTuple):
    """One input to read.

    Attributes:
        path: ``-`` is standard input; the address of a data set begins with ``hf://``.
        file: its name among several files; ``None`` if it is the only one.
    """

    path: str
    file: str | None = None

    @property
    def is_remote(self) -> bool:
        """Whether the input is a data set on a hub."""
        return self.path.startswith(HUB)

    @property
    def name(self) -> str:
        """The name that is shown to users."""
        return "standard input" if self.path == STANDARD_INPUT else self.path

    @property
    def content_name(self) -> str:
        """The name without the suffix of a compression."""
        stem, suffix = os.path.splitext(self.path)  # noqa: PTH122 - a path may be an address
        return stem if suffix.lower() in COMPRESSED_SUFFIXES else self.path


def find_inputs(argument: str) -> list[Input]:
    """Return the inputs that the argument names; those of a folder are sorted by name.

    Raises:
        Misconfigured: a folder has no file of a known format.
    """
    if argument == STANDARD_INPUT or argument.startswith(HUB) or not Path(argument).is_dir():
        return [Input(argument)]
    folder = Path(argument)
    found = sorted(path for path in folder.rglob("*") if _has_rows(path, folder))
    if not found:
        others = left_out(argument)
        seen = f" that can be read, only {', '.join(others[:SHOWN])}" if others else ""
        is_arrow = any(name.endswith(".arrow") for name in others)
        remedy = AS_PARQUET if is_arrow else READABLE
        raise Misconfigured(f"{argument} is a folder without data files{seen}; {remedy}")
    return [Input(str(path), str(path.relative_to(folder))) for path in found]


def left_out(argument: str) -> list[str]:
    """Files of a folder that look like data and cannot be read, by name."""
    folder = Path(argument)
    if argument == STANDARD_INPUT or argument.startswith(HUB) or not folder.is_dir():
        return []
    found = (path for path in folder.rglob("*") if _is_data(path, folder))
    return sorted(str(path.relative_to(folder)) for path in found if _suffix(path) in UNREADABLE)


def _has_rows(path: Path, folder: Path) -> bool:
    return _is_data(path, folder) and _suffix(path) in DATA_SUFFIXES


def _is_data(path: Path, folder: Path) -> bool:
    parts = path.relative_to(folder).parts
    is_hidden = any(part.startswith(".") or part == OF_ARCHIVERS for part in parts)
    return not is_hidden and path.name not in ABOUT_DATA and path.is_file()


def _suffix(path: Path) -> str:
    return Path(Input(path.name).content_name).suffix.lower()


def total_bytes(inputs: list[Input]) -> int | None:
    """Return the number of bytes to read, or ``None`` if it is unknown."""
    if any(each.is_remote or each.path == STANDARD_INPUT for each in inputs):
        return os.fstat(sys.stdin.fileno()).st_size or None if len(inputs) == 1 else None
    return sum(Path(each.path).stat().st_size for each in inputs) or None


@contextmanager
def opened(each: Input) -> Iterator[int]:
    """Open an input, and yield its descriptor."""
    if each.path == STANDARD_INPUT:
        yield sys.stdin.fileno()
        return
    with Path(each.path).open("rb", buffering=0) as stream:
        yield stream.fileno()
