"""Data sets of a hub are streamed through ``datasets``, or the missing package is named."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

import pytest

from promptmill.cli.publish.files.hub import HubAddress, parse_address
from promptmill.cli.publish.files.inputs import Input, find_inputs
from promptmill.cli.publish.files.reading import read_inputs
from promptmill.cli.publish.files.splitting import RawLine
from promptmill.runtime.errors import Misconfigured, Unavailable

ADDRESS = "hf://datasets/openai/gsm8k?config=main"


@pytest.mark.parametrize(
    ("address", "parts"),
    [
        ("hf://datasets/a/b", HubAddress("a/b")),
        ("hf://a/b", HubAddress("a/b")),
        ("hf://datasets/a/b@v1", HubAddress("a/b", "v1")),
        ("hf://a/b?config=main&split=test", HubAddress("a/b", None, None, "main", "test")),
        ("hf://datasets/a/b@v1/x/y.jsonl", HubAddress("a/b", "v1", "x/y.jsonl")),
    ],
)
def test_an_address_has_parts(address: str, parts: HubAddress) -> None:
    assert parse_address(address) == parts


def test_the_address_of_a_file_is_whole() -> None:
    parts = HubAddress("a/b", "v1", "x/y.jsonl")
    assert parts.file_address == "hf://datasets/a/b@v1/x/y.jsonl"


@pytest.mark.parametrize("address", ["hf://", "hf://a", "hf://datasets/a", "hf://a/b?splt=test"])
def test_another_address_is_refused_with_its_shape(address: str) -> None:
    with pytest.raises(Misconfigured, match="write hf://datasets/OWNER/NAME"):
        parse_address(address)


class Hub(ModuleType):
    """The part of ``datasets`` that is used."""

    def __init__(self, rows: list[dict[str, Any]], error: Exception | None = None) -> None:
        super().__init__("datasets")
        self.asked: list[tuple[tuple[Any, ...], dict[str, Any]]] = []
        self._rows, self._error = rows, error

    def load_dataset(self, *words: Any, **options: Any) -> list[dict[str, Any]]:
        self.asked.append((words, options))
        if self._error is not None:
            raise self._error
        return self._rows


async def rows_at(address: str) -> list[RawLine]:
    return [row async for rows in read_inputs(find_inputs(address)) for row in rows]


async def test_the_rows_of_a_data_set_are_streamed(monkeypatch: pytest.MonkeyPatch) -> None:
    hub = Hub([{"question": str(number), "answer": None} for number in range(100)])
    monkeypatch.setitem(sys.modules, "datasets", hub)
    rows = await rows_at(ADDRESS)
    assert [row.content for row in rows] == [{"question": str(number)} for number in range(100)]
    assert [row.number for row in rows] == list(range(1, 101))
    (words, options) = hub.asked[0]
    assert words == ("openai/gsm8k", "main")
    assert options == {"split": "train", "revision": None, "streaming": True}


async def test_one_file_of_a_data_set_is_read_by_its_suffix(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    hub = Hub([{"prompt": "a"}])
    monkeypatch.setitem(sys.modules, "datasets", hub)
    assert len(await rows_at("hf://datasets/a/b/data/x.jsonl.gz")) == 1
    assert hub.asked[0][0] == ("json",)
    assert hub.asked[0][1]["data_files"] == "hf://datasets/a/b/data/x.jsonl.gz"
    with pytest.raises(Misconfigured, match=r"x\.txt has none of the suffixes"):
        await rows_at("hf://datasets/a/b/data/x.txt")


async def test_without_the_package_the_remedy_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(Misconfigured, match="pip install datasets"):
        await rows_at(ADDRESS)


@pytest.mark.parametrize(
    ("error", "kind"),
    [(ConnectionError("no route"), Unavailable), (ValueError("Config is missing"), Misconfigured)],
)
async def test_what_the_hub_says_is_passed_on(
    error: Exception, kind: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "datasets", Hub([], error))
    with pytest.raises(kind, match=str(error)):
        await rows_at(ADDRESS)


def test_a_hub_needs_no_file() -> None:
    assert find_inputs(ADDRESS) == [Input(ADDRESS)]
