"""The formats of labelled answers, and the columns by which each is recognised.

The format decides which columns are read and which figures result. All formats of pairs have the
figures of RewardBench.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Any, Final

from promptmill.runtime.errors import Misconfigured


class LabelledFormat(StrEnum):
    """The format of the file; ``auto`` recognises it from the columns of its rows."""

    AUTO = "auto"
    REWARDBENCH = "rewardbench"
    REWARDBENCH2 = "rewardbench2"
    ULTRAFEEDBACK = "ultrafeedback"
    HELPSTEER3 = "helpsteer3"
    HELPSTEER2 = "helpsteer2"


_COLUMNS: Final[Mapping[LabelledFormat, frozenset[str]]] = {
    LabelledFormat.REWARDBENCH2: frozenset({"chosen", "rejected", "num_correct"}),
    LabelledFormat.ULTRAFEEDBACK: frozenset({"chosen", "rejected", "score_chosen"}),
    LabelledFormat.REWARDBENCH: frozenset({"chosen", "rejected"}),
    LabelledFormat.HELPSTEER3: frozenset({"context", "response1", "response2"}),
    LabelledFormat.HELPSTEER2: frozenset({"prompt", "response", "helpfulness", "verbosity"}),
}
"""The columns of each format; the first format that fits is used."""


def recognised(file: str, rows: Iterable[Any]) -> LabelledFormat:
    """Return the format of the first row that has the columns of a format.

    Args:
        file: the file's name, for the error.
        rows: parsed rows; those that are not JSON objects are skipped.

    Raises:
        Misconfigured: no row has the columns of a format.
    """
    for row in rows:
        if not isinstance(row, dict):
            continue
        for form, columns in _COLUMNS.items():
            if columns <= row.keys():
                return form
    wanted = "; ".join(f"{form}: {', '.join(sorted(names))}" for form, names in _COLUMNS.items())
    raise Misconfigured(
        f"{file} has no row with the columns of a known format ({wanted}); rename its columns, or "
        "name the format with --format to see what is missing"
    )
