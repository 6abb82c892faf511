"""The errors of requests to a server, as a part of promptmill's error tree.

::

    Unavailable
    ├── ServerBusy            the server limits the rate or is overloaded
    │   └── OutOfQuota        the account's quota or credit is used up
    └── ServerUnreachable     no connection could be made
    Transient
    └── ServerFault           this attempt failed: status 5xx, time-out, connection lost
        ├── Refused           the server refused the key, path or model
        │   └── NotFound      the path or the model does not exist (404, 405)
        ├── Interrupted       the server broke off the answer, which is billed
        └── Malformed         the response does not follow the API's schema
            └── Unreadable    a complete, billed answer whose content is not as requested
                └── NotFinite     a number is NaN or infinite
    Poison
    ├── Rejected              the server rejected the request as wrong
    └── Withheld              the server's content filter refused the request
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Final, Literal

from promptmill.inference.http.options import VARIABLE
from promptmill.runtime.errors import Poison, PromptmillError, Transient, Unavailable

_BUSY = {429, 498, 529}
_PAY = "raise the account's limit, or set another key"
_PASSING = {408, 409, 421, 423, 424, 425, 499}
_FILTERED = {
    *("contentfilter", "contentpolicyviolation", "datainspectionfailed", "invalidprompt"),
    *("moderationblocked", "responsibleaipolicyviolation", "flaggedinput", "1301"),
}
"""Names of errors with which servers refuse the content of a prompt, without separators."""

_UNPAID = {
    *("insufficientquota", "insufficientbalance", "insufficientcredits", "insufficientuserquota"),
    *("billinghardlimitreached", "billingnotactive", "creditbalancetoolow", "quotaexhausted"),
    *("exceededcurrentquotaerror", "arrearage", "accountoverdueerror", "1113"),
}
"""Names of errors with which servers refuse an account that has no quota left."""

_UNPAID_WORDS = re.compile(
    r"insufficient (balance|credit|funds|quota)|credit balance is too low|account is suspended|"
    r"account is in good standing"
)

_NO_MODEL = {
    *("modelnotfound", "modeldecommissioned", "modelnotavailable", "unknownmodel", "invalidmodel"),
    *("deploymentnotfound", "nosuchmodel", "modeldeprecated"),
}
"""Names of errors with which servers say, with any status, that they do not have the model."""

_NO_MODEL_WORDS = re.compile(
    r"\bmodel [`'\"]?[\w./:@-]+[`'\"]? (does not exist|not found|has been (decommissioned|"
    r"deprecated|retired))|not a valid model id"
)

_NO_KEY = {"invalidapikey", "apikeyinvalid", "invalidauthentication", "authenticationerror"}
"""Names of errors with which servers refuse a key, with any status."""

_NO_KEY_WORDS = re.compile(r"api[ _-]?key (is )?(not valid|invalid|expired)|invalid api[ _-]?key")

_KNOWN = _FILTERED | _UNPAID | _NO_MODEL | _NO_KEY

_TOO_LARGE = "request too large"


class ServerBusy(Unavailable):
    """The server limits the rate of requests, or is overloaded."""


class OutOfQuota(ServerBusy):
    """The account's quota or credit is used up; waiting helps only after a payment."""


class ServerUnreachable(Unavailable):
    """No connection to the server could be made, so the request was not sent."""


class ServerFault(Transient):
    """One attempt failed because of the server, the network or the request itself.

    Attributes:
        overload: whether the failure is a sign of an overloaded server.
    """

    def __init__(self, message: str, *, overload: bool = False) -> None:
        super().__init__(message)
        self.overload = overload


class Refused(ServerFault):
    """The server refused the key, the path or the model."""


class NotFound(Refused):
    """The path or the model does not exist on the server."""


class Interrupted(ServerFault):
    """The server broke off the answer, or reports an end that is not known to be one."""


Cause = Literal["quota", "key", "model", "server"]
"""Why no request to a server succeeds."""

_TROUBLES: Final[Mapping[Cause, str]] = {
    "quota": "the quota of the model server is used up",
    "key": "the model server refuses the key",
    "model": "the model server does not have the model or the path",
    "server": "the model server does not answer",
}


def cause_of(error: PromptmillError) -> Cause:
    """The cause of an outage, by the error of the request that is known to be good."""
    if isinstance(error, OutOfQuota):
        return "quota"
    if isinstance(error, NotFound):
        return "model"
    return "key" if isinstance(error, Refused) else "server"


def trouble_of(error: PromptmillError) -> str:
    """The cause of an outage in words, with the error."""
    if isinstance(error, Poison):
        return f"the model server rejects every request: {error}"
    return f"{_TROUBLES[cause_of(error)]}: {error}"


class Malformed(ServerFault):
    """The response does not follow the API's schema."""


class Unreadable(Malformed):
    """The server answered correctly, but the content is not as requested.

    This is not a sign of a faulty server: an adapter, a prompt or a judge can cause it.
    """


class NotFinite(Unreadable):
    """A number in the answer is NaN or infinite."""


class Rejected(Poison):
    """The server rejected the request as wrong; if it rejects every request, it is at fault."""


class Withheld(Poison):
    """The server's content filter refused the request, as it would refuse it every time."""


def name_among(names: Iterable[object]) -> str:
    """Of the names that a server gives to an error, one that is known here, or else the first.

    Capitals and separators do not count. Without a name, it is empty.
    """
    plain = [re.sub(r"[\W_]+", "", name.lower()) for name in names if isinstance(name, str)]
    plain = [name for name in plain if name]
    return next((name for name in plain if name in _KNOWN), next(iter(plain), ""))


def failure_of(
    status: int, message: str, url: str, retry_after_s: float | None, code: str = ""
) -> PromptmillError:
    """Return the error for an HTTP status.

    Args:
        status: any status outside 200 to 299.
        message: the server's error message, without secrets.
        url: the address of the request.
        retry_after_s: the wait that the server asks for, in seconds; ``None`` if it gives none.
        code: the server's own name of the error, from :func:`name_among`.
    """
    text = f"{url} answers {status}: {message or 'no reason given'}"
    if code in _FILTERED and 400 <= status < 500:
        return Withheld(text)
    if (busy := _busy(status, message, retry_after_s, code, text)) is not None:
        return busy
    if status in {401, 403, 404, 405, 407, 410} or 300 <= status < 400:
        return _refused(status, text)
    if 400 <= status < 500 and (other := _refused_by_words(message.lower(), code)):
        return _refused(other, text)
    if status >= 500 or status in _PASSING or status < 300:
        return ServerFault(text, overload=status in {503, 504})
    return Rejected(f"{text}; correct the request")


def _busy(
    status: int, message: str, retry_after_s: float | None, code: str, text: str
) -> PromptmillError | None:
    """The error of a server that accepts no request at the moment; ``None`` for any other."""
    if status >= 400 and (status == 402 or code in _UNPAID or _is_unpaid(message)):
        return OutOfQuota(f"{text}; {_PAY}", retry_after_s=retry_after_s)
    if status not in _BUSY and (status != 503 or retry_after_s is None):
        return None
    if _TOO_LARGE in message.lower():
        return Poison(f"{text}; the request alone exceeds the server's rate limit: shorten it")
    return ServerBusy(text, retry_after_s=retry_after_s)


def _refused_by_words(message: str, code: str) -> int | None:
    """The status that fits what the server says, if that is not the status it has."""
    if code in _NO_MODEL or _NO_MODEL_WORDS.search(message):
        return 404
    return 401 if code in _NO_KEY or _NO_KEY_WORDS.search(message) else None


def _is_unpaid(message: str) -> bool:
    return _UNPAID_WORDS.search(message.lower()) is not None


def _refused(status: int, text: str) -> Refused:
    if status in {401, 403}:
        return Refused(f"{text}; set {VARIABLE} to a key that may use this model")
    if status in {404, 405, 410}:
        return NotFound(f"{text}; correct --base-url, --model, or the prompt's adapter")
    return Refused(f"{text}; correct --base-url or --model")
