"""HTTP requests over persistent connections, with every failure as one of promptmill's errors."""

from __future__ import annotations

import math
import ssl
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from types import TracebackType
from typing import Any, Self

import aiohttp
import structlog

from promptmill.inference.http.address import Address
from promptmill.inference.http.errors import (
    Malformed,
    ServerFault,
    ServerUnreachable,
    failure_of,
    name_among,
)
from promptmill.inference.http.headers import (
    as_text,
    key_header,
    standard_headers,
    without_secrets,
)
from promptmill.inference.http.json_text import parse_json
from promptmill.inference.http.options import HttpOptions
from promptmill.inference.http.streaming import assemble, is_stream
from promptmill.runtime.errors import Misconfigured

log = structlog.get_logger(__name__)

KEEPALIVE_S = 4.0
"""Shorter than the 5 s after which uvicorn, and therefore vLLM, closes an idle connection."""

MAX_BODY_BYTES = 32 * 1024 * 1024
"""Maximum size of a response; the longest answers with log-probabilities stay below it."""

MAX_RETRY_AFTER_S = 3_600.0
"""Maximum wait that a server may ask for; a longer one is shortened to this."""

MAX_MESSAGE_CHARACTERS = 500
_CHUNK_BYTES = 1 << 16


class Transport:
    """A pool of connections to one server; the limiter restricts how many are in use."""

    def __init__(self, address: Address, options: HttpOptions) -> None:
        self._address = address
        self._options = options
        self._query = dict(address.query) | as_text(options.query)
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        options = self._options
        if options.secrets and self._address.exposes_secrets:
            log.warning("api_key_sent_unencrypted", url=self._address.server, remedy="use https")
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit=0, keepalive_timeout=KEEPALIVE_S, ssl=_ssl_context(options), ttl_dns_cache=60
            ),
            timeout=aiohttp.ClientTimeout(
                total=options.request_timeout_s, sock_connect=options.connect_timeout_s
            ),
            headers=self._headers(),
            cookie_jar=aiohttp.DummyCookieJar(),
        )
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._session is not None:
            await self._session.close()

    async def post(self, url: str, body: bytes) -> Any:
        """Send a POST request, and return the JSON value of the response.

        Raises:
            ServerBusy, ServerUnreachable, ServerFault, Malformed, Poison: see
                :mod:`~promptmill.inference.http.errors`.
            Misconfigured: the server's certificate is not trusted.
        """
        return await self._exchange("POST", url, body)

    async def get(self, url: str) -> Any:
        """Send a GET request, and return the JSON value; the errors are those of :meth:`post`."""
        return await self._exchange("GET", url, None)

    async def _exchange(self, method: str, url: str, body: bytes | None) -> Any:
        if self._session is None:
            raise ServerUnreachable(f"the connection pool for {url} has not been opened")
        try:
            async with self._session.request(
                method, url, data=body, params=self._query, allow_redirects=False
            ) as response:
                raw = await _read(response, url)
                if response.status == 200:
                    return self._parse(raw, url, response.content_type)
                wait_s = retry_after_s(response.headers)
                raise failure_of(
                    response.status, self._message(raw), url, wait_s, _name_of(_error_body(raw))
                )
        except aiohttp.ClientConnectorCertificateError as error:
            raise Misconfigured(
                f"the certificate of {url} is not trusted ({error.certificate_error}): give the "
                "certificate of its authority with --ca-file, or correct --base-url"
            ) from None
        except aiohttp.ClientConnectorError as error:
            cause = _cause(error.os_error)
            raise ServerUnreachable(
                f"cannot connect to {url} ({cause}); check that the server is running"
            ) from None
        except aiohttp.ConnectionTimeoutError:
            limit = self._options.connect_timeout_s
            raise ServerUnreachable(
                f"cannot connect to {url} within {limit:g} s; check that the server is reachable"
            ) from None
        except TimeoutError:
            limit = self._options.request_timeout_s
            raise ServerFault(
                f"{url} did not answer within {limit:g} s; raise --request-timeout-s or ask for "
                "fewer tokens",
                overload=True,
            ) from None
        except (aiohttp.ClientError, OSError) as error:
            raise ServerFault(f"{url} closed the connection: {_cause(error)}") from None

    def _headers(self) -> dict[str, str]:
        options = self._options
        key = key_header(options.api_key, is_azure=self._address.is_azure)
        return standard_headers() | key | as_text(options.headers)

    def _parse(self, raw: bytes, url: str, content_type: str) -> Any:
        try:
            answer = assemble(raw) if is_stream(raw, content_type) else parse_json(raw)
        except ValueError as error:
            start = self._message(raw)[:80]
            raise Malformed(f"{url} did not answer with JSON ({error}): {start!r}") from None
        if (reported := _error_in(answer)) is not None:
            code, name = _code(reported), _name_of(reported)
            raise failure_of(code, self._message(raw), url, None, name)
        return answer

    def _message(self, raw: bytes) -> str:
        """The server's error message on one line, without the API key."""
        text = _error_text(raw) or raw[: 4 * MAX_MESSAGE_CHARACTERS].decode(errors="replace")
        line = without_secrets(" ".join(text.split()), self._options.secrets)
        return line[:MAX_MESSAGE_CHARACTERS]


def retry_after_s(headers: Mapping[str, str], now: datetime | None = None) -> float | None:
    """The wait that the server asks for, in seconds; 0 for a past date, ``None`` for no request.

    The header ``Retry-After`` may hold seconds or an HTTP date (RFC 9110, section 10.2.3), and
    ``retry-after-ms`` holds milliseconds. A date is compared with the response's ``Date`` header,
    which is the server's own clock.

    Args:
        headers: the response headers, with case-insensitive look-up.
        now: the time to use if there is no ``Date`` header, instead of this machine's clock.
    """
    seconds = _number(headers.get("retry-after-ms"))
    if seconds is not None:
        return _clamped(seconds / 1000)
    text = headers.get("Retry-After")
    seconds = _number(text)
    if seconds is not None:
        return _clamped(seconds)
    until = _date(text)
    if until is None:
        return None
    since = _date(headers.get("Date")) or now or datetime.now(UTC)
    return _clamped((until - since).total_seconds())


def _number(text: str | None) -> float | None:
    try:
        number = float(text or "")
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _date(text: str | None) -> datetime | None:
    try:
        date = parsedate_to_datetime(text or "")
    except ValueError:
        return None
    return date if date.tzinfo else date.replace(tzinfo=UTC)


def _clamped(seconds: float) -> float:
    return min(max(seconds, 0.0), MAX_RETRY_AFTER_S)


async def _read(response: aiohttp.ClientResponse, url: str) -> bytes:
    """Read the body, but at most :data:`MAX_BODY_BYTES`."""
    if (response.content_length or 0) > MAX_BODY_BYTES:
        raise Malformed(
            f"{url} announces an answer of {response.content_length} bytes; at most "
            f"{MAX_BODY_BYTES} are accepted"
        )
    if response.content_length is not None and "Content-Encoding" not in response.headers:
        return await response.read()
    parts, size = [], 0
    async for part in response.content.iter_chunked(_CHUNK_BYTES):
        parts.append(part)
        size += len(part)
        if size > MAX_BODY_BYTES:
            response.close()
            raise Malformed(f"{url} sent more than {MAX_BODY_BYTES} bytes, the limit for an answer")
    return b"".join(parts)


def _error_text(raw: bytes) -> str:
    """The message in an error body of a known schema; ``""`` if there is none."""
    body: Any = _error_body(raw)
    for key in ("error", "message", "detail"):
        if isinstance(body, dict) and key in body:
            body = body[key]
    return body if isinstance(body, str) else ""


def _error_body(raw: bytes) -> Any:
    """The error that a body reports, or the whole body if it names none.

    Google puts the body into a list.
    """
    try:
        body = parse_json(raw)
    except ValueError:
        return None
    if isinstance(body, list) and len(body) == 1:
        (body,) = body
    error = _error_in(body)
    return body if error is None else error


def _name_of(error: Any) -> str:
    """The server's own name of an error; ``""`` if it gives none."""
    if not isinstance(error, dict):
        return ""
    details, metadata = error.get("details"), error.get("metadata")
    listed = details if isinstance(details, list) else []
    reasons = [each.get("reason") for each in listed if isinstance(each, dict)]
    is_flagged = isinstance(metadata, dict) and "flagged_input" in metadata  # by OpenRouter
    flags = ["flagged_input"] if is_flagged else []
    return name_among([error.get("code"), error.get("type"), *reasons, *flags])


def _error_in(body: Any) -> Any:
    """The error that a response reports, at the top or in its first choice; else ``None``."""
    if not isinstance(body, dict):
        return None
    if body.get("error"):
        return body["error"]
    if body.get("object") == "error":
        return body
    choices = body.get("choices")
    first = choices[0] if isinstance(choices, list) and choices else None
    return (first.get("error") or None) if isinstance(first, dict) else None


def _code(error: Any) -> int:
    """The status that corresponds to an error in the body of a response with status 200."""
    code = error.get("code") if isinstance(error, dict) else None
    code = int(code) if isinstance(code, str) and code.isdecimal() else code
    return code if isinstance(code, int) and 400 <= code < 600 else 500


def _cause(error: BaseException) -> str:
    """The error's message, or the name of its type if it has none."""
    return str(error) or type(error).__name__


def _ssl_context(options: HttpOptions) -> ssl.SSLContext | bool:
    if options.ca_file is None:
        return True
    try:
        return ssl.create_default_context(cafile=str(options.ca_file))
    except OSError as error:
        raise Misconfigured(
            f"ca_file {options.ca_file} cannot be used ({error}): give certificates in PEM format"
        ) from error
