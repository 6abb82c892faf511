"""Further headers and query parameters, with secrets from the environment only."""

from __future__ import annotations

import pytest
from pydantic import SecretStr

from promptmill.inference.http.headers import (
    as_text,
    key_header,
    read_headers,
    read_query,
    without_secrets,
)
from promptmill.runtime.errors import Misconfigured

ENVIRONMENT = {"TEAM_KEY": "hunter2", "EMPTY": " ", "BROKEN": "a\nb"}


def test_values_are_taken_as_they_are_or_from_the_environment() -> None:
    given = {"X-Team": "mill", "X-Api-Key": "$TEAM_KEY", "Authorization": "Basic ${TEAM_KEY}"}
    values = read_headers(given, ENVIRONMENT)
    assert as_text(values) == {
        "X-Team": "mill",
        "X-Api-Key": "hunter2",
        "Authorization": "Basic hunter2",
    }
    assert "hunter2" not in repr(values)
    assert without_secrets("mill: hunter2", [v for v in values.values() if v != "mill"])  # type: ignore[misc]


@pytest.mark.parametrize("name", ["Authorization", "api-key", "X-Token", "Cookie"])
def test_a_secret_in_the_settings_is_refused_and_not_repeated(name: str) -> None:
    with pytest.raises(Misconfigured, match=rf"{name}=\$NAME") as refusal:
        read_headers({name: "hunter2"}, ENVIRONMENT)
    assert "hunter2" not in str(refusal.value)


@pytest.mark.parametrize("value", ["$MISSING", "$EMPTY"])
def test_a_variable_that_is_not_set_is_named(value: str) -> None:
    with pytest.raises(Misconfigured, match=f"{value[1:]} in the environment"):
        read_query({"key": value}, ENVIRONMENT)


def test_what_no_header_can_carry_is_refused() -> None:
    with pytest.raises(Misconfigured, match="line break"):
        read_headers({"X-Key": "$BROKEN"}, ENVIRONMENT)
    for name in ("X Key", "X-Key:", "", "Content-Length"):
        with pytest.raises(Misconfigured, match="name of a header"):
            read_headers({name: "x"}, ENVIRONMENT)


def test_a_key_has_the_header_that_the_server_reads() -> None:
    key, token = SecretStr("abc"), SecretStr("eyJhbGci")
    assert key_header(None, is_azure=True) == {}
    assert key_header(key, is_azure=False) == {"Authorization": "Bearer abc"}
    assert key_header(key, is_azure=True) == {"api-key": "abc"}
    assert key_header(token, is_azure=True) == {"Authorization": "Bearer eyJhbGci"}
