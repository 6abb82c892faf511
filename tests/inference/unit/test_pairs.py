"""Pairs are read as people write them in flags, in the environment and in the file."""

from __future__ import annotations

from typing import Any

import pytest

from promptmill.inference.settings import read_key_values, read_values


@pytest.mark.parametrize(
    ("given", "pairs"),
    [
        ("", {}),
        ("a=/x", {"a": "/x"}),
        (" a = /x , b=/y=z", {"a": "/x", "b": "/y=z"}),
        ('{"a": "/x"}', {"a": "/x"}),
        ({"a": "/x"}, {"a": "/x"}),
    ],
)
def test_pairs_are_read_from_text_and_from_tables(given: Any, pairs: dict[str, str]) -> None:
    assert read_key_values(given) == pairs


def test_values_are_json_or_the_text_itself() -> None:
    text = 'a=16,b=true,c=fp8,d={"x":1,"y":[2,3]},e=[1,2],f="p,q",g=null'
    assert read_values(text) == {
        "a": 16,
        "b": True,
        "c": "fp8",
        "d": {"x": 1, "y": [2, 3]},
        "e": [1, 2],
        "f": "p,q",
        "g": None,
    }


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("a", "from character 1 on is not a NAME=VALUE pair"),
        ("a=1,b", "from character 5 on is not a NAME=VALUE pair"),
        ("=1", "is not a NAME=VALUE pair"),
        ("a=1,a=2", "a is given twice"),
        ('a={"x":1}y=2', "write a comma"),
        ('a={"x"', "delimiter"),
    ],
)
def test_what_is_no_pair_is_named(given: str, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        read_key_values(given)
