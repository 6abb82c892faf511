"""JSON that is not quite JSON is read where what it says is clear."""

from __future__ import annotations

import math
from typing import Any

import pytest

from promptmill.inference.http.json_text import parse_json


@pytest.mark.parametrize(
    ("raw", "value"),
    [
        (b'{"a": 1}', {"a": 1}),
        (b'{"a": "x\\ud83d y"}', {"a": "x\ufffd y"}),
        (b'{"a": "\\ud83d\\ude00 \\ude00"}', {"a": "\U0001f600 \ufffd"}),
        (b'{"a": "x\xff"}', {"a": "x\ufffd"}),
        (b'{"a": "x\x01\ty"}', {"a": "x\x01\ty"}),
        (b'\xef\xbb\xbf{"a": 1}', {"a": 1}),
    ],
)
def test_a_broken_letter_does_not_cost_the_answer(raw: bytes, value: Any) -> None:
    assert parse_json(raw) == value


def test_numbers_that_are_not_finite_are_read() -> None:
    assert math.isnan(parse_json(b'{"a": NaN, "b": "\\ud83d"}')["a"])


@pytest.mark.parametrize("raw", [b"", b"{", b"no", b'{"a": "x', b"[" * 100_000])
def test_what_is_no_json_is_refused(raw: bytes) -> None:
    with pytest.raises(ValueError, match="line 1"):
        parse_json(raw)
