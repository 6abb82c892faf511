"""How long a server asks to wait, from the headers of its answer."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

LONGEST_S = 3_600.0
"""A longer wish is cut to this; the server is asked again then."""


def retry_after_s(headers: Mapping[str, str], now: datetime | None = None) -> float | None:
    """Seconds from now, 0 for a moment that has passed, ``None`` when nothing is asked.

    Understood are ``Retry-After`` in seconds or as an HTTP date (RFC 9110, section 10.2.3), and
    ``retry-after-ms``. A date is compared with the server's own clock where it tells it.

    Args:
        headers: of the answer, looked up without regard to case.
        now: instead of this machine's clock.
    """
    wish = _number(headers.get("retry-after-ms"))
    if wish is not None:
        return _within(wish / 1000)
    text = headers.get("Retry-After")
    wish = _number(text)
    if wish is not None:
        return _within(wish)
    until = _date(text)
    if until is None:
        return None
    since = _date(headers.get("Date")) or now or datetime.now(UTC)
    return _within((until - since).total_seconds())


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


def _within(seconds: float) -> float:
    return min(max(seconds, 0.0), LONGEST_S)
