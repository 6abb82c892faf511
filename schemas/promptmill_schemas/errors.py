"""One error for every contract that does not hold."""

from __future__ import annotations

from typing import Final

SHOWN_CHARACTERS = 120


class _Missing:
    def __repr__(self) -> str:
        return "missing"


MISSING: Final = _Missing()
"""Stands for the value of a field that is not there."""


class ContractError(ValueError):
    """Bytes that are not the contract they claim to be.

    Attributes:
        field: dotted path of the offending field, ``""`` when the whole message is at fault.
        value: what stands there, shortened to 120 characters.
        limit: what would be allowed.
        remedy: what the sender can do about it.
    """

    def __init__(self, field: str, value: object, limit: str, remedy: str) -> None:
        self.field = field
        self.value = shorten(value)
        self.limit = limit
        self.remedy = remedy
        super().__init__(field, value, limit, remedy)

    def __str__(self) -> str:
        return f"{self.field or 'message'} is {self.value}: {self.limit}; {self.remedy}"

    def renamed(self, field: str) -> ContractError:
        """The same error about a field that its sender knows by another name."""
        return ContractError(field, self.args[1], self.limit, self.remedy)

    def as_dict(self) -> dict[str, str]:
        """The parts by name, for receipts and logs."""
        return {
            "field": self.field,
            "value": self.value,
            "limit": self.limit,
            "remedy": self.remedy,
        }


def shorten(value: object) -> str:
    """``repr`` of the value, at most 120 characters, with the length of what was cut."""
    text = repr(value)
    if len(text) <= SHOWN_CHARACTERS:
        return text
    return f"{text[:SHOWN_CHARACTERS]}… ({len(text)} characters)"
