"""The error tree, ordered by what happens to the record or the process.

::

    PromptmillError
    ├── Transient     the record is processed again after a pause; attempts are counted
    │   └── Unavailable     a shared dependency (broker, Redis, store) does not answer; retried
    │                       until it returns, without counting attempts
    ├── Poison        the record can never succeed; it is dead-lettered
    │   └── Exhausted       its retry budget is used up by failures of a server; a replay may help
    ├── Fatal         the process stops; the supervisor or a person has to act
    │   ├── Misconfigured   a wrong setting, a missing package, a table of another cluster
    │   └── EngineDead      the engine has died or hangs; its records are delivered again
    └── Stale         the result belongs to an assignment that has ended; it is dropped

Every message says what was found, what is allowed, and what to do about it.
"""

from __future__ import annotations


class PromptmillError(Exception):
    """The base class of all errors that promptmill raises deliberately."""


class Transient(PromptmillError):
    """The same record may succeed in another attempt.

    Attributes:
        retry_after_s: seconds to wait before the next attempt; ``None`` uses the back-off.
    """

    def __init__(self, message: str, *, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class Unavailable(Transient):
    """A shared dependency is unavailable. No record is at fault, so attempts are not counted."""


class Poison(PromptmillError):
    """This record can never succeed; it is dead-lettered immediately."""


class Exhausted(Poison):
    """The retry budget of one of the record's requests is used up; the record may be valid."""


class Fatal(PromptmillError):
    """The process cannot continue; no record in flight is committed."""

    exit_code = 1


class Misconfigured(Fatal):
    """A setting or the environment contradicts what the process needs."""

    exit_code = 78  # EX_CONFIG of sysexits.h


class EngineDead(Fatal):
    """The engine has died or hangs; its records are delivered again."""

    exit_code = 70  # EX_SOFTWARE of sysexits.h


class Stale(PromptmillError):
    """The assignment to which this result belongs has ended."""


def reason_of(error: BaseException) -> str:
    """Return the name of the error's class in ``snake_case``, by which failures are counted."""
    name = type(error).__name__
    return "".join(f"_{c.lower()}" if c.isupper() else c for c in name).lstrip("_")
