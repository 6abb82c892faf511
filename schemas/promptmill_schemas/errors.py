"""One error for every contract that does not hold."""

from __future__ import annotations

from reprlib import Repr
from typing import Final, Self

SHOWN_CHARACTERS = 120
SHOWN_INT_BITS = 256


class _Missing:
    def __repr__(self) -> str:
        return "missing"


MISSING: Final = _Missing()
"""Stands for the value of a field that is not there."""


class _Shown(str):
    """A value in the form in which it is shown; shown again, it stays as it is."""

    __slots__ = ()
    __repr__ = str.__str__


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
        super().__init__(field, self.value, limit, remedy)

    def __str__(self) -> str:
        return f"{self.field or 'message'} is {self.value}: {self.limit}; {self.remedy}"

    def renamed(self, field: str) -> ContractError:
        """The same error about a field that its sender knows by another name."""
        return ContractError(field, self.value, self.limit, self.remedy)

    def detached(self) -> Self:
        """The same error as an object of its own, without a traceback, a cause or a context."""
        twin = type(self).__new__(type(self), *self.args)
        twin.__dict__.update(self.__dict__)
        return twin

    def as_dict(self) -> dict[str, str]:
        """The parts by name, for receipts and logs."""
        return {
            "field": self.field,
            "value": self.value,
            "limit": self.limit,
            "remedy": self.remedy,
        }


class _Short(Repr):
    """``repr`` that looks at the beginning only, whatever the size of the value."""

    def __init__(self) -> None:
        super().__init__()
        self.maxlevel = 6
        self.maxlist = self.maxtuple = self.maxdict = 12
        self.maxstring = self.maxother = SHOWN_CHARACTERS

    def repr_int(self, value: int, _level: int) -> str:
        """Python refuses to write out integers of more than 4,300 digits."""
        bits = value.bit_length()
        return repr(value) if bits <= SHOWN_INT_BITS else f"<integer of {bits} bits>"


_SHORT: Final = _Short()


class NewerVersion(ContractError):
    """A message of a later version, which this one cannot read."""

    def __init__(self, found: int, known: int) -> None:
        limit = f"this program reads version {known}"
        remedy = "upgrade this program, then replay the dead letter with 'promptmill dead replay'"
        super().__init__("schema_version", found, limit, remedy)


def shorten(value: object) -> str:
    """``repr`` of the value, at most 120 characters, with the length of what was cut.

    Never raises, and costs the same for any value: what is shown may have come from anywhere.
    """
    if isinstance(value, _Shown):
        return value
    if isinstance(value, str | bytes) and len(value) > SHOWN_CHARACTERS:
        text = repr(value[:SHOWN_CHARACTERS])[:SHOWN_CHARACTERS]
        return _Shown(f"{text}… ({len(value)} characters)")
    text = _SHORT.repr(value)
    return _Shown(text if len(text) <= SHOWN_CHARACTERS else f"{text[:SHOWN_CHARACTERS]}…")
