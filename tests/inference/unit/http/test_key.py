"""The key comes from the environment and goes nowhere but into the header."""

from __future__ import annotations

import pytest

from promptmill.inference.http.headers import without_secrets
from promptmill.inference.http.options import HttpOptions, read_api_key
from promptmill.runtime.errors import Misconfigured

KEY = "nvapi-0123456789"


def test_no_variable_and_an_empty_one_mean_no_key() -> None:
    assert read_api_key({}) is None
    assert read_api_key({"PROMPTMILL_API_KEY": " \n"}) is None


@pytest.mark.parametrize("key", ["two words", "line\nbreak", "schlüssel"])
def test_a_key_that_no_header_can_carry_is_refused_and_not_repeated(key: str) -> None:
    with pytest.raises(Misconfigured, match="PROMPTMILL_API_KEY") as refusal:
        read_api_key({"PROMPTMILL_API_KEY": key})
    assert key not in str(refusal.value)


def test_the_key_stands_in_no_representation() -> None:
    key = read_api_key({"PROMPTMILL_API_KEY": KEY})
    options = HttpOptions("http://h/v1", api_key=key)
    assert KEY not in f"{key!r} {key} {options!r} {options}"


def test_a_quoted_key_is_blacked_out() -> None:
    key = read_api_key({"PROMPTMILL_API_KEY": KEY})
    assert key is not None
    assert without_secrets(f"no such key: {KEY}!", [key]) == "no such key: ***!"
    assert without_secrets("no key", []) == "no key"
