"""What identifies the last message that a table has taken from a partition."""

from __future__ import annotations

from dataclasses import replace

import pytest

from promptmill.lake.identity import check_last, identify, is_of
from promptmill.runtime.errors import Misconfigured
from promptmill.stream.ports import Delivery, Partition

MESSAGE = Delivery(Partition("records", 0), 70_000, b"key", b"value", 1_700_000_000_000)


def test_the_number_fits_an_application_transaction() -> None:
    assert all(0 <= identify(replace(MESSAGE, value=bytes([n]))) < 2**63 for n in range(200))


@pytest.mark.parametrize(
    "change",
    [
        {"key": b"other"},
        {"key": None},
        {"value": b"other"},
        {"value": None},
        {"timestamp_ms": 1},
        {"key": b"keyv", "value": b"alue"},
        {"offset": 70_001},
    ],
)
def test_another_message_has_another_number(change: dict[str, bytes | int | None]) -> None:
    other = replace(MESSAGE, **change)  # type: ignore[arg-type]
    assert identify(other) != identify(MESSAGE)
    with pytest.raises(Misconfigured, match=r"another message.*PROMPTMILL_STORE"):
        check_last("store/records", other, 0, 70_000, identify(MESSAGE))


def test_a_message_that_is_gone_from_within_the_log_is_an_error() -> None:
    with pytest.raises(Misconfigured, match="no message"):
        check_last("store/records", None, 0, 70_000, identify(MESSAGE))
    check_last("store/records", MESSAGE, 0, 70_000, identify(MESSAGE))


def test_a_number_that_an_older_version_left_behind_is_not_compared() -> None:
    assert is_of(identify(MESSAGE), 70_001)
    assert not is_of(identify(MESSAGE), 70_002)
    assert not is_of(None, 70_001)
    assert not is_of(identify(MESSAGE), None)
