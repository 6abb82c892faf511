"""The error for bytes or values that violate a contract."""

from __future__ import annotations

from reprlib import Repr
from typing import Final, Self

SHOWN_CHARACTERS = 120
SHOWN_INT_BITS = 256


class _Missing:
    def __repr__(self) -> str:
        return "missing"


MISSING: Final = _Missing()
"""The value of a missing field in errors."""


class _Shown(str):
    """A value that is already shortened; shortening it again has no effect."""

    __slots__ = ()
    __repr__ = str.__str__


class ContractError(ValueError):
    """A message or value violates its contract.

    Attributes:
        field: dotted path of the field; ``""`` if the error concerns the whole message.
        value: the value of the field, shortened to 120 characters.
        limit: the rule that it violates.
        remedy: how the sender can correct it.
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
        """Return the same error with the name by which the sender knows the field."""
        return ContractError(field, self.value, self.limit, self.remedy)

    def detached(self) -> Self:
        """Return a copy of the error without its traceback, cause and context."""
        twin = type(self).__new__(type(self), *self.args)
        twin.__dict__.update(self.__dict__)
        return twin

    def as_dict(self) -> dict[str, str]:
        """Return the attributes by name, for receipts and logs."""
        return {
            "field": self.field,
            "value": self.value,
            "limit": self.limit,
            "remedy": self.remedy,
        }


class LocalError(ContractError):
    """An error whose field is relative to the object that was validated.

    An object does not know where it is in a message. The conversion of pydantic's error adds the
    path to it.
    """


class _Short(Repr):
    """A ``repr`` that reads only the beginning of a value, whatever its size."""

    def __init__(self) -> None:
        super().__init__()
        self.maxlevel = 6
        self.maxlist = self.maxtuple = self.maxdict = 12
        self.maxstring = self.maxother = SHOWN_CHARACTERS

    def repr_int(self, value: int, _level: int) -> str:
        """Show large integers by their size; Python refuses to convert more than 4,300 digits."""
        bits = value.bit_length()
        return repr(value) if bits <= SHOWN_INT_BITS else f"<integer of {bits} bits>"


_SHORT: Final = _Short()


class NewerVersion(ContractError):
    """The message has a later schema version than this program can read."""

    def __init__(self, found: int, known: int) -> None:
        limit = f"this program reads version {known}"
        remedy = "upgrade this program, then replay the dead letter with 'promptmill dead replay'"
        super().__init__("schema_version", found, limit, remedy)


def shorten(value: object) -> str:
    """Return the ``repr`` of a value, shortened to 120 characters.

    This never raises, and its cost does not depend on the value, which may come from any sender.
    """
    if isinstance(value, _Shown):
        return value
    if isinstance(value, str | bytes) and len(value) > SHOWN_CHARACTERS:
        text = repr(value[:SHOWN_CHARACTERS])[:SHOWN_CHARACTERS]
        return _Shown(f"{text}… ({len(value)} characters)")
    text = _SHORT.repr(value)
    return _Shown(text if len(text) <= SHOWN_CHARACTERS else f"{text[:SHOWN_CHARACTERS]}…")
