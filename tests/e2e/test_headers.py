"""One trace from `publish` through all stages, a dead letter and its replay."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from promptmill.stream.ports import Delivery
from promptmill_schemas import TOPICS, Message, Prompt, encode
from promptmill_schemas.headers import event_type
from promptmill_schemas.topics import COMPLETIONS, DEAD_LETTERS, PROMPTS, SCORED
from support.kafka_topics import TopicReader, put
from support.pipeline import Pipeline, write_prompts

pytestmark = [pytest.mark.real, pytest.mark.timeout(300)]

PARENT = b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


def messages(pipeline: Pipeline, prompt_id: str) -> dict[str, list[dict[str, bytes]]]:
    """The headers of the messages about a prompt, by topic."""
    reader = TopicReader(kafka_of(pipeline), PROMPTS.partitions)

    async def read() -> dict[str, list[Delivery]]:
        return {topic.name: await reader.read(topic.name) for topic in TOPICS}

    return {
        name: [dict(each.headers) for each in found if each.key == prompt_id.encode()]
        for name, found in asyncio.run(read()).items()
    }


def kafka_of(pipeline: Pipeline) -> str:
    return str(pipeline.json("up")["kafka"])


def test_a_published_prompt_has_one_trace_on_every_topic(
    pipeline: Pipeline, tmp_path: Path
) -> None:
    file = write_prompts(tmp_path / "p.jsonl", [{"prompt": "What is a trace?", "n": 2}])
    receipts = tmp_path / "receipts.jsonl"
    with pipeline.workers("--all", "--engine", "scripted"):
        pipeline.json("publish", str(file), "--run", "traced", "--receipts", str(receipts))
        assert pipeline.settle("traced")["settled"]
    prompt_id = json.loads(receipts.read_text())["prompt_id"]
    found = messages(pipeline, prompt_id)
    assert {name for name, each in found.items() if each} >= {"prompts", "completions", "scored"}
    assert found["records"] or found["rejects"]
    for topic in TOPICS:
        for headers in found[topic.name]:
            assert headers["traceparent"].decode().split("-")[1] == prompt_id
            assert headers["ce_type"].decode() == event_type(topic)
            assert (headers["ce_specversion"], headers["content-type"]) == (
                b"1.0",
                b"application/json",
            )
            assert {"ce_id", "ce_source", "ce_time"} <= set(headers)


def test_a_foreign_trace_survives_a_dead_letter_and_its_replay(pipeline: Pipeline) -> None:
    prompt = Prompt.create("foreign", (Message(role="user", content="What is a replay?"),))
    headers = [("traceparent", PARENT), ("tracestate", b"vendor=1"), ("x-own", b"1")]
    key = prompt.prompt_id.encode()
    with (
        pipeline.workers("instruct", "--engine", "scripted", "--deadline-s", "0.001"),
        pipeline.workers("store"),
    ):
        asyncio.run(put(kafka_of(pipeline), PROMPTS.name, 0, [(key, encode(prompt))], headers))
        assert pipeline.settle("foreign")["dead"] == 1
    with pipeline.workers("--all", "--engine", "scripted"):
        assert pipeline.json("dead", "replay", "--where", "run=foreign")["replayed"] == 1
        assert pipeline.settle("foreign")["dead"] == 0
    found = messages(pipeline, prompt.prompt_id)
    assert len(found[DEAD_LETTERS.name]) == 2, "the letter and the notice of its replay"
    assert len(found[PROMPTS.name]) >= 2, "the original and its replay"
    for topic in (PROMPTS, COMPLETIONS, SCORED, DEAD_LETTERS):
        assert {h["traceparent"] for h in found[topic.name]} == {PARENT}
        assert {h["tracestate"] for h in found[topic.name]} == {b"vendor=1"}
    assert found[PROMPTS.name][-1]["ce_type"] == b"promptmill.prompt.v1"
