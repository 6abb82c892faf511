"""Reading of labelled answers: the valid rows, and the invalid ones with number and error.

It reads what ``publish`` reads: JSON Lines, arrays, CSV and Parquet, also compressed, folders, and
data sets on Hugging Face's hub.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from promptmill.cli.grading.formats import LabelledFormat, recognised
from promptmill.cli.grading.rows import (
    Pair,
    Rated,
    Tie,
    read_chosen_rejected,
    read_helpsteer3,
    read_rated,
)
from promptmill.cli.publish.files.inputs import find_inputs
from promptmill.cli.publish.files.reading import read_inputs
from promptmill.cli.publish.files.splitting import UTF8_BOM, RawLine
from promptmill.cli.publish.files.tables import complete_row
from promptmill.runtime.errors import Misconfigured
from promptmill_schemas import ContractError
from promptmill_schemas.base import parse_json

SHOWN_ROWS: Final = 20
"""The number of invalid rows that are reported one by one."""

Reader = Callable[[Mapping[str, Any]], Pair | Rated]

_READERS: Final[Mapping[LabelledFormat, Reader]] = {
    LabelledFormat.REWARDBENCH: read_chosen_rejected,
    LabelledFormat.REWARDBENCH2: read_chosen_rejected,
    LabelledFormat.ULTRAFEEDBACK: read_chosen_rejected,
    LabelledFormat.HELPSTEER3: read_helpsteer3,
    LabelledFormat.HELPSTEER2: read_rated,
}


class Place(NamedTuple):
    """The place of a row: its file, if there are several, and its number from 1."""

    file: str | None
    number: int

    def __str__(self) -> str:
        return f"row {self.number}" if self.file is None else f"{self.file} row {self.number}"


@dataclass(frozen=True, slots=True)
class BadRow:
    """A row that was skipped or not graded."""

    place: Place
    error: str


@dataclass(slots=True)
class Labelled:
    """The rows of a file.

    Attributes:
        form: the format; never ``auto``.
        pairs, rated: the good rows with their places; one of the two is empty.
        bad: the rows that could not be read.
        ties: number of pairs without a preference, which are left out.
    """

    form: LabelledFormat
    pairs: list[tuple[Place, Pair]] = field(default_factory=list)
    rated: list[tuple[Place, Rated]] = field(default_factory=list)
    bad: list[BadRow] = field(default_factory=list)
    ties: int = 0


def read_labelled(argument: str, form: LabelledFormat = LabelledFormat.AUTO) -> Labelled:
    """Read all rows of what ``publish`` can read.

    A row that cannot be read is kept with its error, and reading continues.

    Args:
        argument: a file, a folder, ``-`` for standard input, or ``hf://…``.

    Raises:
        Misconfigured: no row can be read, or the format cannot be recognised from any row.
    """
    rows = asyncio.run(_rows(argument))
    if not rows:
        raise Misconfigured(f"{argument} has no rows; give a file with one JSON object per line")
    if form is LabelledFormat.AUTO:
        form = recognised(argument, (row for _, row in rows))
    found = Labelled(form)
    for place, row in rows:
        _add(found, place, row)
    if not found.pairs and not found.rated:
        raise Misconfigured(_no_row(argument, found))
    return found


async def _rows(argument: str) -> list[tuple[Place, Any]]:
    """Read all rows with their JSON values or errors; a truncated file ends with an error."""
    rows: list[tuple[Place, Any]] = []
    try:
        async for batch in read_inputs(find_inputs(argument)):
            rows += [(Place(row.file, row.number), _parsed(row)) for row in batch]
    except Misconfigured as error:
        if not rows:
            raise
        last, _ = rows[-1]
        rows.append((last._replace(number=last.number + 1), error))
    return rows


def _parsed(row: RawLine) -> Any:
    """Return the row's JSON value, or the error if it has none."""
    try:
        if not isinstance(row.content, bytes):
            return complete_row(row.content)
        if row.is_cut:
            limit = f"at most {len(row.content)} bytes in a row"
            return ContractError("", row.content[:40], limit, "shorten the texts")
        return parse_json(row.content.removeprefix(UTF8_BOM))
    except ContractError as error:
        return error


def _add(found: Labelled, place: Place, row: Any) -> None:
    if isinstance(row, ContractError | Misconfigured):
        found.bad.append(BadRow(place, str(row)))
        return
    try:
        good = _READERS[found.form](_as_object(row))
    except ContractError as error:
        found.bad.append(BadRow(place, str(error)))
    except Tie:
        found.ties += 1
    else:
        if isinstance(good, Pair):
            found.pairs.append((place, good))
        else:
            found.rated.append((place, good))


def _as_object(row: Any) -> Mapping[str, Any]:
    if not isinstance(row, dict):
        raise ContractError("", row, "a row must be a JSON object", "send one per line")
    return row


def _no_row(argument: str, found: Labelled) -> str:
    if not found.bad:
        return f"{argument}: none of its {found.ties} pairs has a preference; give pairs that do"
    first = found.bad[0]
    return (
        f"{argument}: none of its rows can be used as {found.form}: {first.place}: "
        f"{first.error} (and {len(found.bad) - 1} more); correct them, or --format"
    )
