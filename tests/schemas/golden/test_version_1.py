"""Messages written by version 1 stay readable, and are written again with the same bytes.

The files are never edited: tables and topics out there hold such bytes. A new field gets a
default that is left out (``None``) or a new version.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import orjson
import pytest
from pydantic import BaseModel

from promptmill_schemas import TOPICS, Contract, decode, encode

FOLDER = Path(__file__).parent / "v1"
FILES = sorted(FOLDER.glob("*.json"))
each_file = pytest.mark.parametrize("path", FILES, ids=[path.stem for path in FILES])


def contract_of(path: Path) -> type[Contract]:
    """The contract whose name in kebab case begins the file's name."""
    names = {
        re.sub(r"(?<=[a-z])(?=[A-Z])", "-", topic.contract.__name__).lower(): topic.contract
        for topic in TOPICS
    }
    return next(contract for name, contract in names.items() if path.stem.startswith(f"{name}-"))


def golden_bytes(path: Path) -> bytes:
    """The message; the file adds a newline."""
    return path.read_bytes().removesuffix(b"\n")


def present_fields(model: BaseModel) -> set[str]:
    """``Class.field`` of every field that is not null, at any depth."""
    found = set()
    for name, value in model:
        if value is not None:
            found.add(f"{type(model).__name__}.{name}")
        for part in value if isinstance(value, tuple) else (value,):
            if isinstance(part, BaseModel):
                found |= present_fields(part)
    return found


def declared_fields(model: type[BaseModel]) -> set[str]:
    """``Class.field`` of every field of the model and of those inside it."""
    definitions: dict[str, Any] = model.model_json_schema()
    parts = {model.__name__: definitions, **definitions.get("$defs", {})}
    return {f"{title}.{name}" for title, part in parts.items() for name in part["properties"]}


@each_file
def test_a_message_of_version_1_is_read_and_written_with_the_same_bytes(path: Path) -> None:
    raw = golden_bytes(path)
    assert encode(decode(contract_of(path), raw)) == raw


@each_file
def test_a_message_of_version_1_says_its_version(path: Path) -> None:
    assert orjson.loads(golden_bytes(path))["schema_version"] == 1


def test_every_field_of_every_contract_stands_in_a_golden_message() -> None:
    present, declared = set(), set()
    for path in FILES:
        contract = contract_of(path)
        present |= present_fields(decode(contract, golden_bytes(path)))
        declared |= declared_fields(contract)
    assert {topic.contract.__name__ for topic in TOPICS} <= {name.split(".")[0] for name in present}
    assert declared - present == set()
