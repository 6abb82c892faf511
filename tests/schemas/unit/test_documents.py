"""The documents under ``docs/`` say what the contracts say."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from jsonschema import Draft202012Validator, FormatChecker

from promptmill_schemas import TOPICS, Topic
from promptmill_schemas.documents import FLOW, asyncapi, documents, json_schema
from promptmill_schemas.topics import PROMPTS

ROOT = Path(__file__).resolve().parents[3]
GOLDEN = ROOT / "tests" / "schemas" / "golden" / "v1"
each_topic = pytest.mark.parametrize("topic", TOPICS, ids=[topic.name for topic in TOPICS])


def validator(topic: Topic) -> Draft202012Validator:
    return Draft202012Validator(json_schema(topic), format_checker=FormatChecker())


def golden_messages(topic: Topic) -> list[Any]:
    kind = json_schema(topic)["$id"].removesuffix(".json")
    return [orjson.loads(path.read_bytes()) for path in sorted(GOLDEN.glob(f"{kind}-*.json"))]


def references(value: Any) -> Iterator[str]:
    """Every ``$ref`` in a document."""
    if isinstance(value, dict):
        if isinstance(value.get("$ref"), str):
            yield value["$ref"]
        for part in value.values():
            yield from references(part)
    elif isinstance(value, list):
        for part in value:
            yield from references(part)


def resolve(document: dict[str, Any], reference: str) -> Any:
    found: Any = document
    for step in reference.removeprefix("#/").split("/"):
        found = found[step]
    return found


@pytest.mark.parametrize("path", sorted(documents()))
def test_the_documents_in_the_repository_are_current(path: str) -> None:
    stored = (ROOT / "docs" / path).read_bytes()
    assert stored == documents()[path], "run: promptmill schemas --out docs"


def test_no_document_of_a_contract_that_is_gone_is_left() -> None:
    stored = {f"schemas/{path.name}" for path in (ROOT / "docs" / "schemas").glob("*.json")}
    assert stored == {path for path in documents() if path.startswith("schemas/")}


@each_topic
def test_the_golden_messages_fit_their_json_schema(topic: Topic) -> None:
    messages = golden_messages(topic)
    assert messages
    for message in messages:
        validator(topic).validate(message)


@pytest.mark.parametrize(
    "change",
    [
        {"n": 0},
        {"n": 10_000},
        {"n": "3"},
        {"messages": []},
        {"messages": [{"role": "wizard", "content": "x"}]},
        {"tags": {"year": [1931]}},
        {"prompt_id": "short"},
        {"sampling": {"temperature": 3.5}},
    ],
    ids=str,
)
def test_the_json_schema_refuses_what_the_contract_refuses(change: dict[str, Any]) -> None:
    message = golden_messages(PROMPTS)[0]
    assert validator(PROMPTS).is_valid(message)
    assert not validator(PROMPTS).is_valid({**message, **change})


@each_topic
def test_every_documented_attribute_is_described_at_its_field(topic: Topic) -> None:
    schema = json_schema(topic)
    parts = [schema, *schema.get("$defs", {}).values()]
    assert not [part for part in parts if "Attributes:" in part.get("description", "")]
    described = [f for part in parts for f in part["properties"].values() if "description" in f]
    assert described


def test_every_reference_in_the_asyncapi_document_leads_somewhere() -> None:
    document = asyncapi()
    found = set(references(document))
    assert "#/components/schemas/Prompt" in found
    assert all(resolve(document, reference) for reference in found)


def test_every_topic_has_a_sender_and_a_receiver() -> None:
    received = {topic.name for receives, _ in FLOW.values() for topic in receives}
    sent = {topic.name for _, sends in FLOW.values() for topic in sends}
    assert received == sent == set(asyncapi()["channels"]) == {topic.name for topic in TOPICS}
