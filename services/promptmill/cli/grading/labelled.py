"""Reads files of labelled answers: good rows, and bad ones with their number and their error."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import orjson

from promptmill.cli.grading.formats import Format, recognised
from promptmill.cli.grading.rows import (
    Pair,
    Rated,
    Tie,
    read_chosen_rejected,
    read_helpsteer3,
    read_rated,
)
from promptmill.runtime.errors import Misconfigured
from promptmill_schemas import ContractError
from promptmill_schemas.base import parse_json

_BOM: Final = b"\xef\xbb\xbf"
_UTF_16: Final = (b"\xff\xfe", b"\xfe\xff")

SHOWN_ROWS: Final = 20
"""How many bad rows are reported one by one."""


Reader = Callable[[Mapping[str, Any]], Pair | Rated]

_READERS: Final[Mapping[Format, Reader]] = {
    Format.REWARDBENCH: read_chosen_rejected,
    Format.REWARDBENCH2: read_chosen_rejected,
    Format.ULTRAFEEDBACK: read_chosen_rejected,
    Format.HELPSTEER3: read_helpsteer3,
    Format.HELPSTEER2: read_rated,
}


@dataclass(frozen=True, slots=True)
class BadRow:
    """A row that was left out, with the number of its line from 1."""

    number: int
    error: str


@dataclass(slots=True)
class Labelled:
    """The rows of a file.

    Attributes:
        form: the format; never ``auto``.
        pairs, rated: the good rows with the numbers of their lines; one of the two is empty.
        bad: the rows that could not be read.
        ties: number of pairs without a preference, which are left out.
    """

    form: Format
    pairs: list[tuple[int, Pair]] = field(default_factory=list)
    rated: list[tuple[int, Rated]] = field(default_factory=list)
    bad: list[BadRow] = field(default_factory=list)
    ties: int = 0


def read_labelled(file: Path, form: Format = Format.AUTO) -> Labelled:
    """Read all rows of a file.

    A row that cannot be read is kept with its error, and the reading goes on.

    Raises:
        Misconfigured: there is no good row, or no row shows the format.
    """
    lines = _lines(file)
    parsed = [(number, _parsed(raw)) for number, raw in lines]
    if form is Format.AUTO:
        form = recognised(file, (row for _, row in parsed))
    found = Labelled(form)
    for number, row in parsed:
        _add(found, number, row)
    if not found.pairs and not found.rated:
        raise Misconfigured(_no_row(file, found))
    return found


def _add(found: Labelled, number: int, row: Any) -> None:
    if isinstance(row, ContractError):
        found.bad.append(BadRow(number, str(row)))
        return
    try:
        good = _READERS[found.form](_as_object(row))
    except ContractError as error:
        found.bad.append(BadRow(number, str(error)))
    except Tie:
        found.ties += 1
    else:
        if isinstance(good, Pair):
            found.pairs.append((number, good))
        else:
            found.rated.append((number, good))


def _as_object(row: Any) -> Mapping[str, Any]:
    if not isinstance(row, dict):
        raise ContractError("", row, "a row must be a JSON object", "send one per line")
    return row


def _lines(file: Path) -> Iterator[tuple[int, bytes]]:
    content = file.read_bytes()
    if content.startswith(_UTF_16):
        raise Misconfigured(f"{file} is UTF-16, but UTF-8 is required; save it as UTF-8")
    content = content.removeprefix(_BOM)
    lines = [(n, row) for n, row in enumerate(content.splitlines(), 1) if row.strip()]
    if not lines:
        raise Misconfigured(f"{file} has no lines; give a file with one JSON object per line")
    return _items(content) or iter(lines)


def _items(content: bytes) -> Iterator[tuple[int, bytes]] | None:
    """The items of a JSON array, numbered from 1; ``None`` if the file is no JSON array."""
    if not content.lstrip().startswith(b"["):
        return None
    try:
        items = orjson.loads(content)
    except orjson.JSONDecodeError:
        return None
    return ((number, orjson.dumps(item)) for number, item in enumerate(items, 1))


def _parsed(raw: bytes) -> Any:
    try:
        return parse_json(raw)
    except ContractError as error:
        return error


def _no_row(file: Path, found: Labelled) -> str:
    if not found.bad:
        return f"{file}: none of its {found.ties} pairs has a preference; give pairs that do"
    first = found.bad[0]
    return (
        f"{file}: none of its rows can be used as {found.form}: line {first.number}: "
        f"{first.error} (and {len(found.bad) - 1} more); correct them, or --format"
    )
