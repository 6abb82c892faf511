"""The endpoints of a server, derived from the base URL that the user gives.

People paste a host, a base URL with or without its version, the address of an endpoint, or that of
one of Azure's deployments. Where the text leaves open whether a version belongs to the path, there
are alternatives, and the first request shows which of them is right.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from urllib.parse import SplitResult, parse_qsl, urlsplit

from promptmill.runtime.errors import Misconfigured

_VERSION = re.compile(r"v\d+\w*")
_ENDPOINTS = (
    *("/chat/completions", "/completions", "/models", "/classify"),
    *("/responses", "/embeddings", "/messages"),
)
_LOOPBACK = ("127.", "localhost", "::1")
_FORM = "give http://HOST:PORT/v1 or https://HOST/v1"
_AZURE = (".openai.azure.com", ".cognitiveservices.azure.com")
_DEPLOYMENTS = "deployments"
_SECRETIVE = re.compile(r"key|token|secret|password|sig$|^code$", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Address:
    """The base addresses of one server.

    Attributes:
        server: scheme, host, port and path prefix, without the API version.
        api: the same with the API version, which is ``v1`` unless the URL names another.
        query: parameters of every request, as ``api-version`` of Azure.
        others: what ``api`` may be instead, if the server does not know that path.
    """

    server: str
    api: str
    query: tuple[tuple[str, str], ...] = ()
    others: tuple[str, ...] = field(default=(), compare=False)

    @property
    def chat(self) -> str:
        """The endpoint for chat completions."""
        return f"{self.api}/chat/completions"

    @property
    def exposes_secrets(self) -> bool:
        """Whether secrets would be sent unencrypted, by plain HTTP to another machine."""
        parts = urlsplit(self.server)
        return parts.scheme == "http" and not (parts.hostname or "").startswith(_LOOPBACK)

    @property
    def is_azure(self) -> bool:
        """Whether keys belong in the header ``api-key``, as with Azure's gateways."""
        parts = urlsplit(self.api)
        return _is_azure(parts) or _DEPLOYMENTS in parts.path.split("/")

    @property
    def deployment(self) -> str:
        """The name of Azure's deployment; empty if the address has none."""
        _, _, rest = urlsplit(self.api).path.partition(f"/{_DEPLOYMENTS}/")
        return rest.partition("/")[0]

    def candidates(self) -> Sequence[Address]:
        """This address, and those that may be meant instead."""
        others = [Address(self.server, api, self.query) for api in self.others]
        return [Address(self.server, self.api, self.query), *others]


def parse_base_url(text: str) -> Address:
    """Parse a base URL, which may end with the API version or with an endpoint.

    Raises:
        Misconfigured: the text is not an HTTP URL, or has credentials or a fragment.
    """
    parts = _split(text)
    query = _query(parts)
    path = re.sub("/{2,}", "/", parts.path).rstrip("/")
    bare = _without_endpoint(path)
    origin = f"{parts.scheme}://{parts.netloc}"
    segments = bare.split("/")
    version = next((at for at, name in enumerate(segments) if _VERSION.fullmatch(name)), None)
    prefix = "/".join(segments[:version])
    if bare != path or _DEPLOYMENTS in segments:
        return Address(origin + prefix, origin + bare, query)
    if version is not None:
        others = (origin + prefix,) if version == len(segments) - 1 else ()
        return Address(origin + prefix, origin + bare, query, others)
    if _is_azure(parts) and not bare:
        bare = "/openai"
    return Address(origin + bare, f"{origin}{bare}/v1", query, (origin + bare,))


def _without_endpoint(path: str) -> str:
    for endpoint in _ENDPOINTS:
        if path.endswith(endpoint):
            return path.removesuffix(endpoint)
    return path


def _is_azure(parts: SplitResult) -> bool:
    return (parts.hostname or "").endswith(_AZURE)


def _query(parts: SplitResult) -> tuple[tuple[str, str], ...]:
    pairs = tuple(parse_qsl(parts.query, keep_blank_values=True))
    if secret := next((name for name, _ in pairs if _SECRETIVE.search(name)), None):
        raise Misconfigured(
            f"base_url for {parts.hostname} has the parameter {secret!r}, which looks like a "
            f"secret: remove it, set it in the environment, and give --query '{secret}=$NAME'"
        )
    return pairs


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
    if parts.fragment:
        raise Misconfigured(f"base_url for {host} has a fragment: {_FORM}")
    return parts
