"""What a request can come to, other than an answer; each is one of promptmill's errors.

::

    Unavailable
    ├── ServerBusy       too many requests, or overloaded: it says when to come again, or not
    └── ServerAway       no connection
    Transient
    └── ServerFault      this try failed: error 5xx, time-out, connection cut
        ├── Refused      key, path or model refused, though a first request went through
        │   └── NotFound     the path or the model is not there (404)
        └── Malformed    an answer that is not of the promised form
            └── Unreadable   a whole answer, paid for, whose content is not what was asked for
                └── NotFinite    a number that is none
"""

from __future__ import annotations

from promptmill.inference.http.options import VARIABLE
from promptmill.runtime.errors import Poison, PromptmillError, Transient, Unavailable

_BUSY = {402, 429, 529}
_PASSING = {408, 409, 421, 423, 424, 425, 499}
_TOO_LARGE = "request too large"


class ServerBusy(Unavailable):
    """The server wants fewer requests, or later ones."""


class ServerAway(Unavailable):
    """No connection came about; the request has reached nobody."""


class ServerFault(Transient):
    """One try failed, through the server, the network or this very request."""

    def __init__(self, message: str, *, overload: bool = False) -> None:
        super().__init__(message)
        self.overload = overload


class Refused(ServerFault):
    """The server refuses the key, the path or the model."""


class NotFound(Refused):
    """There is no such path or model."""


class Malformed(ServerFault):
    """The answer does not have the form that the API promises."""


class Unreadable(Malformed):
    """The server has answered well, and the content is not what was asked for.

    It says nothing about the server: an adapter, a prompt or a judge may always do that.
    """


class NotFinite(Unreadable):
    """NaN or infinity where a number should be."""


def failure_of(status: int, message: str, url: str, retry_after_s: float | None) -> PromptmillError:
    """The error that an HTTP status means.

    Args:
        status: below 200 or from 300 on.
        message: the server's own words, without secrets.
        retry_after_s: what the server asks to wait.
    """
    said = f"{url} answers {status}: {message or 'no reason given'}"
    if status in _BUSY or (status == 503 and retry_after_s is not None):
        if _TOO_LARGE in message.lower():
            return Poison(f"{said}; the request alone exceeds the server's rate limit: shorten it")
        return ServerBusy(said, retry_after_s=retry_after_s)
    if status in {401, 403, 404, 405, 407} or 300 <= status < 400:
        return _refused(status, said)
    if status >= 500 or status in _PASSING or status < 300:
        return ServerFault(said, overload=status in {503, 504})
    return Poison(f"{said}; correct the request")


def _refused(status: int, said: str) -> Refused:
    if status in {401, 403}:
        return Refused(f"{said}; set {VARIABLE} to a key that may use this model")
    if status == 404:
        return NotFound(f"{said}; correct --base-url, --model, or the prompt's adapter")
    return Refused(f"{said}; correct --base-url or --model")
