"""``up`` finds the running stack and makes the topics; ``doctor`` sees both."""

from __future__ import annotations

import asyncio

import pytest

from cli.integration.conftest import Place
from promptmill.kafka.topics import ensure_topics, topic_specs
from support.commands import Promptmill

pytestmark = pytest.mark.real


def test_up_finds_the_running_stack_and_creates_what_is_missing(
    promptmill: Promptmill, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    prefix = f"{place.prefix}new."
    monkeypatch.setenv("PROMPTMILL_TOPIC_PREFIX", prefix)
    done = promptmill("up", "--json")
    assert done.code == 0
    assert done.json == {
        "kafka": place.stack.kafka,
        "redis": place.stack.redis,
        "home": str(place.stack.home),
    }
    specs = topic_specs(prefix, brokers=1)
    assert asyncio.run(ensure_topics(place.stack.kafka, specs)) == []


def test_topics_with_other_settings_are_reported_and_left(
    promptmill: Promptmill, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    prefix = f"{place.prefix}odd."
    monkeypatch.setenv("PROMPTMILL_TOPIC_PREFIX", prefix)
    first, *_ = topic_specs(prefix, brokers=1)
    odd = type(first)(first.name, 3, 1000, first.max_message_bytes)
    asyncio.run(ensure_topics(place.stack.kafka, [odd]))
    done = promptmill("up", "--json")
    assert done.code == 0
    assert f"topic {first.name}: partitions is 3, but should be 12" in done.err
    assert f"topic {first.name}: retention.ms is 1000" in done.err
    assert asyncio.run(ensure_topics(place.stack.kafka, [odd])) == []


def test_doctor_sees_the_running_servers(promptmill: Promptmill, place: Place) -> None:
    done = promptmill("doctor", "--json")
    checks = {check["name"]: check for check in done.json["checks"]}
    assert done.code == (0 if done.json["ok"] else 1)
    assert checks["Kafka"]["detail"].startswith(place.stack.kafka)
    assert checks["Kafka"]["ok"]
    assert checks["Redis"]["ok"]


def test_doctor_says_how_to_get_what_is_missing(
    promptmill: Promptmill, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PROMPTMILL_KAFKA", "127.0.0.1:1")
    done = promptmill("doctor")
    assert done.code == 1
    assert "MISSING Kafka: Kafka at 127.0.0.1:1 does not answer" in done.out
    assert "→ promptmill up" in done.out
