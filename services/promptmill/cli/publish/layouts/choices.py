"""The user's choices about rows; this module imports nothing that is slow to load."""

from __future__ import annotations

from enum import StrEnum


class UnknownColumns(StrEnum):
    """The treatment of columns that have no meaning in a row's layout."""

    REFUSE = "refuse"
    IGNORE = "ignore"
    TAGS = "tags"


class LastAnswer(StrEnum):
    """The treatment of the assistant's turn at the end of a conversation."""

    REFERENCE = "reference"
    CUT = "cut"
    REFUSE = "refuse"
