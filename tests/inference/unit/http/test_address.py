"""One URL from the user, all endpoints from it."""

from __future__ import annotations

import pytest

from promptmill.inference.http.address import parse_base_url
from promptmill.runtime.errors import Misconfigured


@pytest.mark.parametrize(
    ("given", "server", "api"),
    [
        ("http://127.0.0.1:8000", "http://127.0.0.1:8000", "http://127.0.0.1:8000/v1"),
        ("http://127.0.0.1:8000/v1", "http://127.0.0.1:8000", "http://127.0.0.1:8000/v1"),
        ("https://h/v1/", "https://h", "https://h/v1"),
        ("https://h/llm/", "https://h/llm", "https://h/llm/v1"),
        ("https://h/api/v3", "https://h/api", "https://h/api/v3"),
        ("http://h:1/v1/chat/completions", "http://h:1", "http://h:1/v1"),
        (" http://[::1]:9/v1 ", "http://[::1]:9", "http://[::1]:9/v1"),
    ],
)
def test_a_base_url_is_taken_with_or_without_its_version(given: str, server: str, api: str) -> None:
    address = parse_base_url(given)
    assert (address.server, address.api) == (server, api)


@pytest.mark.parametrize(
    "given", ["", "localhost:8000", "ftp://h/v1", "http://", "http://h:x/v1", "http://h/v1?a=b"]
)
def test_what_is_no_http_url_is_refused_with_the_form_to_give(given: str) -> None:
    with pytest.raises(Misconfigured, match="give"):
        parse_base_url(given)


def test_a_password_in_the_url_is_refused_and_not_repeated() -> None:
    with pytest.raises(Misconfigured, match="PROMPTMILL_API_KEY") as refusal:
        parse_base_url("https://user:hunter2@h/v1")
    assert "hunter2" not in str(refusal.value)


@pytest.mark.parametrize(
    ("url", "exposed"),
    [("http://10.0.0.1/v1", True), ("http://127.0.0.1/v1", False), ("https://h/v1", False)],
)
def test_plain_http_to_another_machine_exposes_secrets(url: str, *, exposed: bool) -> None:
    assert parse_base_url(url).exposes_secrets is exposed
