"""What a user may choose about rows; nothing heavy is imported here."""

from __future__ import annotations

from enum import StrEnum


class UnknownColumns(StrEnum):
    """What happens to columns that mean nothing in a row's layout."""

    REFUSE = "refuse"
    IGNORE = "ignore"
    TAGS = "tags"


class LastAnswer(StrEnum):
    """What happens to the assistant's turn at the end of a conversation."""

    REFERENCE = "reference"
    CUT = "cut"
    REFUSE = "refuse"
