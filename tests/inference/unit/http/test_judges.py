"""Further graders: their servers, and whose key they get."""

from __future__ import annotations

from dataclasses import replace

import pytest
from pydantic import SecretStr

from promptmill.inference.http.judges import further_graders
from promptmill.inference.http.options import HttpOptions
from promptmill.runtime.errors import Misconfigured

FIRST = HttpOptions(
    "http://one/v1",
    model="a",
    api_key=SecretStr("first-key"),
    headers={"X-Team": SecretStr("team-secret")},
)


def test_a_grader_without_a_url_is_another_model_on_the_same_server() -> None:
    assert further_graders(FIRST, {"b": ""}, {}) == [replace(FIRST, model="b")]


def test_no_key_and_no_header_reaches_another_server() -> None:
    (other,) = further_graders(FIRST, {"b": "http://two/v1"}, {})
    assert (other.base_url, other.api_key, other.headers, other.query) == (
        "http://two/v1", None, {}, {},
    )  # fmt: skip
    assert other.tries == FIRST.tries


def test_another_server_has_a_key_of_its_own_from_the_environment() -> None:
    variables = {"OTHER_KEY": " second-key\n"}
    (other,) = further_graders(FIRST, {"b": "http://two"}, {"b": "$OTHER_KEY"}, variables)
    assert other.api_key == SecretStr("second-key")


@pytest.mark.parametrize(
    ("servers", "keys", "words"),
    [
        ({"a": ""}, {}, "name the first grader"),
        ({"b": ""}, {"b": "$OTHER_KEY"}, "judge_keys has b"),
        ({"b": "http://two"}, {"c": "$OTHER_KEY"}, "judge_keys has c"),
        ({"b": "http://two"}, {"b": "$UNSET"}, "UNSET"),
        ({"b": "http://two"}, {"b": "sk-secret"}, "put the key into the environment"),
        ({"b": "http://two"}, {"b": "$SPLIT"}, "a space, a line break"),
    ],
)
def test_graders_that_contradict_each_other_are_refused(
    servers: dict[str, str], keys: dict[str, str], words: str
) -> None:
    variables = {"OTHER_KEY": "second-key", "SPLIT": "two words"}
    with pytest.raises(Misconfigured, match=words) as caught:
        further_graders(FIRST, servers, keys, variables)
    assert "sk-secret" not in str(caught.value)
    assert "two words" not in str(caught.value)


def test_the_first_grader_must_have_a_name_if_there_are_others() -> None:
    with pytest.raises(Misconfigured, match="--model"):
        further_graders(replace(FIRST, model=""), {"b": ""}, {})
