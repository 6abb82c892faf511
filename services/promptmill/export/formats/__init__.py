"""All trainer formats, by their names for ``promptmill export --for``."""

from __future__ import annotations

from typing import Final

from promptmill.export.formats import (
    aligner,
    community,
    helpsteer,
    nemo,
    published,
    rl,
    trl,
)
from promptmill.export.formats.format import Context, Row, TrainerFormat, table_of

FORMATS: Final = table_of(
    (
        *trl.FORMATS,
        *nemo.FORMATS,
        *community.FORMATS,
        *rl.FORMATS,
        *published.FORMATS,
        *helpsteer.FORMATS,
        *aligner.FORMATS,
    )
)

__all__ = ["FORMATS", "Context", "Row", "TrainerFormat"]
