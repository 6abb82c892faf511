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
        ("http://h/chat/completions", "http://h", "http://h"),
        ("https://g/v1beta/openai/", "https://g", "https://g/v1beta/openai"),
        ("https://g/v1beta/openai/chat/completions", "https://g", "https://g/v1beta/openai"),
        ("https://z/api/paas/v4/", "https://z/api/paas", "https://z/api/paas/v4"),
        ("http://h:1//v1/", "http://h:1", "http://h:1/v1"),
        ("http://h:1/v1/responses", "http://h:1", "http://h:1/v1"),
        ("https://q/openai/v1", "https://q/openai", "https://q/openai/v1"),
        (
            "https://a.openai.azure.com",
            "https://a.openai.azure.com/openai",
            "https://a.openai.azure.com/openai/v1",
        ),
    ],
)
def test_a_base_url_is_taken_with_or_without_its_version(given: str, server: str, api: str) -> None:
    address = parse_base_url(given)
    assert (address.server, address.api) == (server, api)


@pytest.mark.parametrize(
    "given", ["", "localhost:8000", "ftp://h/v1", "http://", "http://h:x/v1", "http://h/v1#a"]
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


@pytest.mark.parametrize(
    ("given", "places"),
    [
        ("http://h", ["http://h/v1", "http://h"]),
        ("http://h/v1", ["http://h/v1", "http://h"]),
        ("http://h/llm", ["http://h/llm/v1", "http://h/llm"]),
        ("http://h/v1/chat/completions", ["http://h/v1"]),
        ("https://g/v1beta/openai/", ["https://g/v1beta/openai"]),
    ],
)
def test_where_the_version_is_in_doubt_there_are_two_places(given: str, places: list[str]) -> None:
    assert [address.api for address in parse_base_url(given).candidates()] == places


def test_the_address_of_a_deployment_is_taken_with_its_version_in_the_query() -> None:
    url = "https://a.openai.azure.com/openai/deployments/four/chat/completions?api-version=2024-10"
    address = parse_base_url(url)
    assert address.api == "https://a.openai.azure.com/openai/deployments/four"
    assert address.query == (("api-version", "2024-10"),)
    assert (address.deployment, address.is_azure) == ("four", True)
    assert len(address.candidates()) == 1


@pytest.mark.parametrize("name", ["key", "api_key", "access_token", "sig"])
def test_a_secret_in_the_query_is_refused_and_not_repeated(name: str) -> None:
    with pytest.raises(Misconfigured, match="--query") as refusal:
        parse_base_url(f"https://h/v1?{name}=hunter2")
    assert "hunter2" not in str(refusal.value)
