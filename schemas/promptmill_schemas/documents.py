"""Generates JSON Schema and AsyncAPI 3.0 documents from the contracts and topics.

The files under ``docs/`` are generated from the classes and from
:data:`~promptmill_schemas.topics.TOPICS`; do not edit them by hand.
"""

from __future__ import annotations

import re
from typing import Any, Final

import orjson
from pydantic.json_schema import GenerateJsonSchema, models_json_schema

from promptmill_schemas.base import SCHEMA_VERSION
from promptmill_schemas.headers import CONTENT_TYPE, contract_name, headers_schema
from promptmill_schemas.topics import (
    COMPLETIONS,
    DEAD_LETTERS,
    PROMPTS,
    RECORDS,
    REJECTS,
    SCORED,
    TOPICS,
    Topic,
)

DIALECT = "https://json-schema.org/draft/2020-12/schema"
ASYNCAPI_FILE = "asyncapi.json"
KAFKA_BINDING = "0.5.0"
ATTRIBUTE = re.compile(r"^    (\w[\w, ]*): (.*(?:\n {5,}.*)*)", re.MULTILINE)
COMPONENTS = "#/components/schemas/{model}"

FLOW: Final[dict[str, tuple[tuple[Topic, ...], tuple[Topic, ...]]]] = {
    "gateway": ((), (PROMPTS,)),
    "instruct": ((PROMPTS,), (COMPLETIONS, DEAD_LETTERS)),
    "reward": ((COMPLETIONS,), (SCORED, DEAD_LETTERS)),
    "filter": ((SCORED,), (RECORDS, REJECTS, DEAD_LETTERS)),
    "store": ((PROMPTS, RECORDS, REJECTS, DEAD_LETTERS), (DEAD_LETTERS,)),
}
"""The topics that each part receives from and sends to."""


def documents() -> dict[str, bytes]:
    """Return all documents by their paths below ``docs/``."""
    files = {f"schemas/{_file_name(topic)}": _pretty(json_schema(topic)) for topic in TOPICS}
    return {**files, ASYNCAPI_FILE: _pretty(asyncapi())}


def json_schema(topic: Topic) -> dict[str, Any]:
    """Return the JSON Schema of the messages on ``topic``."""
    schema = topic.contract.model_json_schema(schema_generator=_Untitled)
    for part in (schema, *schema.get("$defs", {}).values()):
        _describe_fields(part)
    return {"$schema": DIALECT, "$id": _file_name(topic), **schema}


def asyncapi() -> dict[str, Any]:
    """Return the self-contained AsyncAPI 3.0 document of all topics."""
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "promptmill",
            "version": f"{SCHEMA_VERSION}.0.0",
            "description": "Prompts in, graded and de-duplicated training records out. "
            "Every message is compact JSON, keyed by the id of the prompt that it belongs to.",
            "license": {"name": "Apache-2.0"},
        },
        "defaultContentType": CONTENT_TYPE,
        "channels": {topic.name: _channel(topic) for topic in TOPICS},
        "operations": _operations(),
        "components": {
            "messages": {topic.contract.__name__: _message(topic) for topic in TOPICS},
            "schemas": _component_schemas(),
        },
    }


class _Untitled(GenerateJsonSchema):
    """Leaves out the titles that pydantic derives from field names."""

    def field_title_should_be_set(self, schema: Any) -> bool:  # noqa: ARG002
        return False


def _file_name(topic: Topic) -> str:
    return f"{contract_name(topic)}.json"


def _pretty(document: dict[str, Any]) -> bytes:
    return orjson.dumps(document, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)


def _describe_fields(schema: dict[str, Any]) -> None:
    """Move the descriptions of attributes from the docstring to the fields."""
    summary, _, attributes = schema.get("description", "").partition("\n\nAttributes:\n")
    if summary:
        schema["description"] = _one_line(summary)
    for names, text in re.findall(
        r"^    (\w[\w, ]*): (.*(?:\n {5,}.*)*)", attributes, re.MULTILINE
    ):
        for name in names.split(", "):
            schema["properties"][name]["description"] = _one_line(text)


def _one_line(text: str) -> str:
    return " ".join(text.replace("``", "`").split())


def _component_schemas() -> dict[str, Any]:
    contracts = [(topic.contract, "validation") for topic in TOPICS]
    _, schema = models_json_schema(
        contracts,  # type: ignore[arg-type]
        ref_template=COMPONENTS,
        schema_generator=_Untitled,
    )
    parts: dict[str, Any] = schema["$defs"]
    for part in parts.values():
        _describe_fields(part)
    return parts


def _channel(topic: Topic) -> dict[str, Any]:
    contract = topic.contract.__name__
    return {
        "address": topic.name,
        "messages": {contract: {"$ref": f"#/components/messages/{contract}"}},
        "bindings": {
            "kafka": {
                "topic": topic.name,
                "partitions": topic.partitions,
                "topicConfiguration": {
                    "cleanup.policy": ["delete"],
                    "retention.ms": topic.retention_ms,
                    "max.message.bytes": topic.max_message_bytes,
                },
                "bindingVersion": KAFKA_BINDING,
            }
        },
    }


def _message(topic: Topic) -> dict[str, Any]:
    contract = topic.contract.__name__
    return {
        "name": contract,
        "contentType": CONTENT_TYPE,
        "headers": headers_schema(topic),
        "payload": {"$ref": COMPONENTS.format(model=contract)},
        "bindings": {
            "kafka": {
                "key": {"type": "string", "pattern": "^[0-9a-f]{32}$"},
                "bindingVersion": KAFKA_BINDING,
            }
        },
    }


def _operations() -> dict[str, Any]:
    return {
        f"{part}.{action}.{topic.name}": _operation(part, action, topic)
        for part, (receives, sends) in FLOW.items()
        for action, topics in (("receive", receives), ("send", sends))
        for topic in topics
    }


def _operation(part: str, action: str, topic: Topic) -> dict[str, Any]:
    channel = f"#/channels/{topic.name}"
    operation: dict[str, Any] = {
        "action": action,
        "channel": {"$ref": channel},
        "messages": [{"$ref": f"{channel}/messages/{topic.contract.__name__}"}],
    }
    if action == "receive":
        group = {"type": "string", "enum": [f"promptmill.{part}"]}
        operation["bindings"] = {"kafka": {"groupId": group, "bindingVersion": KAFKA_BINDING}}
    return operation
