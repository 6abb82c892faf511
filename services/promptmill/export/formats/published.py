"""Rows of Nemotron's post-training data, results of OpenAI's batches, and verl's conversations."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final
from uuid import UUID

import orjson
import pyarrow as pa

from promptmill.export.formats import trl
from promptmill.export.formats.conversation import prompt
from promptmill.export.formats.format import (
    INT,
    MESSAGES,
    REAL,
    TEXT,
    Context,
    Row,
    TrainerFormat,
    columns,
)
from promptmill_schemas import Record

CALL: Final = pa.struct(
    [
        ("id", TEXT),
        ("type", TEXT),
        ("function", pa.struct([("name", TEXT), ("arguments", TEXT)])),
    ]
)
NEMOTRON_MESSAGES: Final = pa.list_(
    pa.struct([("role", TEXT), ("content", TEXT), ("tool_calls", pa.list_(CALL))])
)
CHOICE: Final = pa.struct(
    [
        ("index", INT),
        ("message", pa.struct([("role", TEXT), ("content", TEXT)])),
        ("logprobs", REAL),
        ("finish_reason", TEXT),
    ]
)
BODY: Final = pa.struct(
    [
        ("id", TEXT),
        ("object", TEXT),
        ("created", INT),
        ("model", TEXT),
        ("choices", pa.list_(CHOICE)),
    ]
)
RESPONSE: Final = pa.struct([("status_code", INT), ("request_id", TEXT), ("body", BODY)])


def nemotron(record: Record, _context: Context) -> Iterator[Row]:
    """Yield a row of Nemotron-Post-Training-Dataset-v1, with the reasoning inside the answer."""
    reasoning = record.messages[-1].reasoning_content
    text = record.chosen
    if reasoning:
        text = f"<think>\n{reasoning}\n</think>\n\n{text}"
    said = [*prompt(record), {"role": "assistant", "content": text}]
    yield {
        "uuid": str(UUID(record.record_id)),
        "license": record.licence or record.tags.get("license"),
        "generator": record.generator.model,
        "version": record.tags.get("version", "v1"),
        "category": record.category or record.tags.get("category", "chat"),
        "reasoning": "on" if text.lstrip().startswith("<think>") else "off",
        "messages": [turn | {"tool_calls": []} for turn in said],
        "metadata": orjson.dumps(_metadata(record)).decode(),
    }


def openai_batch(record: Record, _context: Context) -> Iterator[Row]:
    """Yield a line of an OpenAI batch's output file for each accepted answer.

    Several answers to one request have lines with the same ``custom_id`` and different indexes.
    """
    choice = {
        "index": record.ordinal,
        "message": {"role": "assistant", "content": record.chosen},
        "logprobs": None,
        "finish_reason": _finish_reason(record),
    }
    body = {
        "id": f"chatcmpl-{record.record_id}",
        "object": "chat.completion",
        "created": int(record.created_at.timestamp()),
        "model": record.generator.model,
        "choices": [choice],
    }
    yield {
        "id": f"batch_req_{record.record_id}",
        "custom_id": record.tags.get("custom_id", record.prompt_id),
        "response": {"status_code": 200, "request_id": record.decision_id, "body": body},
        "error": None,
    }


def _metadata(record: Record) -> dict[str, Any]:
    return {
        "run": record.run,
        "scores": record.scores.model_dump(),
        "reward": record.reward,
        "policy_version": record.policy_version,
        "tags": record.tags,
    }


def _finish_reason(record: Record) -> str:
    """Return why the answer ended; assume ``stop`` if the record has no candidates."""
    reasons = (c.finish_reason for c in record.candidates if c.text == record.chosen)
    return next(reasons, "stop")


FORMATS: Final = (
    TrainerFormat(
        "nemotron-post-training",
        "Nemotron post-training",
        "rows of Nemotron-Post-Training-Dataset-v1",
        ("sft",),
        columns(
            uuid=TEXT,
            license=TEXT,
            generator=TEXT,
            version=TEXT,
            category=TEXT,
            reasoning=TEXT,
            messages=NEMOTRON_MESSAGES,
            metadata=TEXT,
        ),
        nemotron,
        "load_dataset(FOLDER)",
    ),
    TrainerFormat(
        "openai-batch",
        "OpenAI",
        "results of a batch",
        ("sft",),
        columns(id=TEXT, custom_id=TEXT, response=RESPONSE, error=TEXT),
        openai_batch,
        "read the lines of FILE by custom_id",
        files=("jsonl",),
        reads_candidates=True,
    ),
    TrainerFormat(
        "verl-sft",
        "verl",
        "supervised fine-tuning",
        ("sft",),
        columns(messages=MESSAGES),
        trl.sft,
        "data.train_files=FILE data.messages_key=messages",
        files=("parquet",),
    ),
)
