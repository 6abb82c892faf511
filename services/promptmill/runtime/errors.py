"""What can go wrong, sorted by what happens next.

::

    PromptmillError
    ├── Transient     the same record again, in place, after a pause; attempts are counted
    │   └── Unavailable     what every record needs is away (broker, Redis, store): tried until
    │                       it is back, never counted, never dead-lettered
    ├── Poison        never again: the record goes to the dead-letter topic
    │   └── Exhausted       its retries are used up through failures of a server; a replay may help
    ├── Fatal         stop the process; the supervisor or a person acts
    │   ├── Misconfigured   a setting, a missing package, a table of another cluster
    │   └── EngineDead      the model's process group is gone; its work is redelivered
    └── Stale         the result belongs to an assignment that has ended; drop it

Every message says what was found, what is allowed, and what to do about it.
"""

from __future__ import annotations


class PromptmillError(Exception):
    """Base of every error that promptmill raises on purpose."""


class Transient(PromptmillError):
    """The same record may succeed if it is tried again."""

    def __init__(self, message: str, *, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class Unavailable(Transient):
    """What every record needs is away; this is nobody's poison, so attempts do not count."""


class Poison(PromptmillError):
    """This record can never succeed; it is dead-lettered at once."""


class Exhausted(Poison):
    """The retries of one of the record's requests are used up; the record may be in order."""


class Fatal(PromptmillError):
    """The process cannot go on; nothing of what is in flight is committed."""

    exit_code = 1


class Misconfigured(Fatal):
    """A setting or the environment contradicts what the process needs."""

    exit_code = 78  # EX_CONFIG of sysexits.h


class EngineDead(Fatal):
    """The engine's process group is gone or hangs; its work is redelivered."""

    exit_code = 70  # EX_SOFTWARE of sysexits.h


class Stale(PromptmillError):
    """The assignment that this result belongs to has ended."""


def reason_of(error: BaseException) -> str:
    """The error's class in the form in which failures are counted, ``snake_case``."""
    name = type(error).__name__
    return "".join(f"_{c.lower()}" if c.isupper() else c for c in name).lstrip("_")
