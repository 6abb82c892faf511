"""Retry-After in each of its forms."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from promptmill.inference.http.transport import MAX_RETRY_AFTER_S, retry_after_s

NOW = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"Retry-After": "7"}, 7.0),
        ({"Retry-After": "0.5"}, 0.5),
        ({"Retry-After": "-3"}, 0.0),
        ({"Retry-After": "1e9"}, MAX_RETRY_AFTER_S),
        ({"Retry-After": "Sun, 01 Mar 2026 12:00:09 GMT"}, 9.0),
        ({"Retry-After": "Sun, 01 Mar 2026 11:00:00 GMT"}, 0.0),
        ({"retry-after-ms": "250", "Retry-After": "1"}, 0.25),
        ({"Retry-After": "soon"}, None),
        ({"Retry-After": "nan"}, None),
        ({}, None),
    ],
)
def test_seconds_and_dates_are_understood(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after_s(headers, NOW) == seconds


def test_a_date_is_compared_with_the_servers_own_clock() -> None:
    headers = {
        "Date": "Sun, 01 Mar 2026 10:00:00 GMT",
        "Retry-After": "Sun, 01 Mar 2026 10:00:04 GMT",
    }
    assert retry_after_s(headers, NOW) == 4.0
