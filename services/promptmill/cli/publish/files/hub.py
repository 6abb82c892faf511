"""Rows of a data set on Hugging Face's hub, streamed with the package ``datasets``.

An address is ``hf://datasets/OWNER/NAME[@REVISION][/FILE]``, with ``?config=…&split=…`` if the data
set needs them; ``datasets/`` is optional.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any, Final, NamedTuple
from urllib.parse import parse_qs, urlsplit

from promptmill.cli.publish.files.inputs import HUB
from promptmill.cli.publish.files.splitting import RawLine
from promptmill.cli.publish.files.tables import BATCH_ROWS, without_nulls
from promptmill.runtime.errors import Misconfigured, Unavailable

SHAPE: Final = "hf://datasets/OWNER/NAME[@REVISION][/FILE][?config=…&split=…]"
BUILDERS: Final = {
    ".parquet": "parquet",
    ".csv": "csv",
    ".json": "json",
    ".jsonl": "json",
    ".ndjson": "json",
}


class HubAddress(NamedTuple):
    """The address of a data set or of one of its files."""

    name: str
    revision: str | None = None
    file: str | None = None
    config: str | None = None
    split: str = "train"

    @property
    def file_address(self) -> str:
        """The address of the file in the form that ``datasets`` reads."""
        at = f"@{self.revision}" if self.revision else ""
        return f"{HUB}datasets/{self.name}{at}/{self.file}"


def parse_address(address: str) -> HubAddress:
    """Parse an address; raise :class:`Misconfigured` if it is invalid."""
    parts = urlsplit(address)
    words = [word for word in (parts.netloc + parts.path).split("/") if word]
    if words[:1] == ["datasets"]:
        words = words[1:]
    options = {name: values[-1] for name, values in parse_qs(parts.query).items()}
    if len(words) < 2 or not options.keys() <= {"config", "split"}:
        raise Misconfigured(f"{address} is not the address of a data set; write {SHAPE}")
    name, _, revision = f"{words[0]}/{words[1]}".partition("@")
    file = "/".join(words[2:]) or None
    return HubAddress(name, revision or None, file, **options)


def hub_rows(address: str) -> Iterator[list[RawLine]]:
    """Yield the rows of the data set, numbered from 1, without fields that are null.

    Raises:
        Misconfigured: ``datasets`` is not installed, or it refuses the address.
        Unavailable: the hub does not answer.
    """
    batch: list[RawLine] = []
    for number, row in enumerate(_rows(address, parse_address(address)), start=1):
        batch.append(RawLine(number, without_nulls(row)))
        if len(batch) >= BATCH_ROWS:
            yield batch
            batch = []
    if batch:
        yield batch


def _rows(address: str, parts: HubAddress) -> Iterator[dict[str, Any]]:
    try:
        yield from _load(parts)
    except ImportError as error:
        remedy = "install it (pip install datasets), or give a file that you have downloaded"
        raise Misconfigured(f"{address} needs the package datasets; {remedy}") from error
    except (ConnectionError, TimeoutError) as error:
        raise Unavailable(f"{address} cannot be read: {_first_line(error)}") from error
    except Exception as error:
        remedy = f"check that the data set exists, and write {SHAPE}"
        raise Misconfigured(f"{address} cannot be read: {_first_line(error)}; {remedy}") from error


def _load(parts: HubAddress) -> Iterator[dict[str, Any]]:
    from datasets import load_dataset

    if parts.file is None:
        yield from load_dataset(
            parts.name,
            parts.config,
            split=parts.split,
            revision=parts.revision,
            streaming=True,
        )
        return
    builder = BUILDERS.get(_suffix(parts.file))
    if builder is None:
        raise ValueError(f"{parts.file} has none of the suffixes {', '.join(BUILDERS)}")
    yield from load_dataset(builder, data_files=parts.file_address, split="train", streaming=True)


def _suffix(file: str) -> str:
    path = PurePosixPath(file)
    return (path.with_suffix("") if path.suffix in {".gz", ".zst", ".bz2"} else path).suffix


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0] or type(error).__name__
