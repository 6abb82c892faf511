"""The endpoints of a server, derived from the base URL that the user gives."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import SplitResult, urlsplit

from promptmill.runtime.errors import Misconfigured

_VERSION = re.compile(r"v\d+\w*")
_ENDPOINTS = ("/chat/completions", "/completions", "/models", "/classify")
_LOOPBACK = ("127.", "localhost", "::1")
_FORM = "give http://HOST:PORT/v1 or https://HOST/v1"


@dataclass(frozen=True, slots=True)
class Address:
    """The base addresses of one server.

    Attributes:
        server: scheme, host, port and path prefix, without the API version.
        api: the same with the API version, which is ``v1`` unless the URL names another.
    """

    server: str
    api: str

    @property
    def exposes_secrets(self) -> bool:
        """Whether secrets would be sent unencrypted, by plain HTTP to another machine."""
        parts = urlsplit(self.server)
        return parts.scheme == "http" and not (parts.hostname or "").startswith(_LOOPBACK)


def parse_base_url(text: str) -> Address:
    """Parse a base URL, which may end with the API version or with an endpoint.

    Raises:
        Misconfigured: the text is not an HTTP URL, or has credentials, a query or a fragment.
    """
    parts = _split(text)
    path = parts.path.rstrip("/")
    for endpoint in _ENDPOINTS:
        path = path.removesuffix(endpoint)
    head, _, tail = path.rpartition("/")
    versioned = bool(_VERSION.fullmatch(tail))
    origin = f"{parts.scheme}://{parts.netloc}"
    return Address(
        server=origin + (head if versioned else path),
        api=origin + (path if versioned else f"{path}/v1"),
    )


def _split(text: str) -> SplitResult:
    if not text:
        raise Misconfigured("no base_url was given: use --base-url http://HOST:PORT/v1")
    try:
        parts = urlsplit(text.strip())
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        raise Misconfigured(f"base_url is not a URL ({error}): {_FORM}") from None
    if "@" in parts.netloc:
        raise Misconfigured(
            f"base_url for {host} contains a user name or password: remove it, and set the key as "
            "PROMPTMILL_API_KEY in the environment"
        )
    if parts.scheme not in {"http", "https"} or not host:
        raise Misconfigured(f"base_url is {text!r}: {_FORM}")
    if parts.query or parts.fragment:
        raise Misconfigured(f"base_url for {host} has a query or fragment: {_FORM}")
    return parts
