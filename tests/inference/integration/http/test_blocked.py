"""A quota used up, a key revoked, a model gone: it is not the fault of any record."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from typing import Any

import pytest
from structlog.testing import capture_logs

from promptmill.inference.engines import trouble_of, watch_engine
from promptmill.inference.http.client import SUSPICIOUS_AT
from promptmill.instruct.work import Instruct
from promptmill.runtime.errors import Poison
from promptmill.runtime.telemetry.health import Health
from promptmill.runtime.telemetry.metrics import StageMetrics
from promptmill.stream.loop import StreamLoop
from promptmill.stream.settings import LoopSettings
from promptmill.testing.broker import MemoryBroker, MemorySender, MemorySource
from promptmill_schemas import Message, Prompt, encode
from promptmill_schemas.topics import COMPLETIONS, DEAD_LETTERS, PROMPTS
from support.bad_answers import Behaviour, chat, chat_body, error_body, refused_as, status
from support.bad_server import BadServer, Call
from support.engines import NoCounter
from support.http_engines import generating, question
from support.streams import CountingProbe
from support.waiting import eventually

ASKED = 40
SETTINGS = LoopSettings(slots=16, backoff_initial_s=0.01, backoff_max_s=0.05)
BLOCKS = [
    (refused_as("insufficient_quota", 429), "quota"),
    (status(402, "Insufficient Balance"), "quota"),
    (status(429, "insufficient credits"), "quota"),
    (status(401, "no such key"), "key"),
    (status(403, "the key is revoked"), "key"),
    (status(404, "The model `m` does not exist"), "model"),
    (status(410, "gone"), "model"),
    (refused_as("model_decommissioned", 400), "model"),
    (status(400, "The model `m` has been decommissioned and is no longer supported."), "model"),
    (refused_as("Arrearage", 400), "quota"),
    (refused_as("exceeded_current_quota_error", 429), "quota"),
    (status(400, "API key expired. Please renew the API key."), "key"),
]


@pytest.mark.parametrize(("block", "cause"), BLOCKS)
async def test_prompts_wait_until_somebody_has_acted(block: Behaviour, cause: str) -> None:
    """No dead letter, one line in the log, a worker that says why; then all is answered."""
    blocked = False

    def behave(_call: Call) -> Behaviour:
        return block if blocked else chat("Yes.")

    broker = MemoryBroker()
    for number in range(ASKED):
        prompt = Prompt.create("run", (Message(role="user", content=f"Question {number}"),))
        broker.append(PROMPTS.name, b"k", encode(prompt))
    async with (
        BadServer(behave) as server,
        generating(server, patience_s=0.2, first_pause_s=0.02) as engine,
    ):
        blocked = True
        loop = StreamLoop(
            MemorySource(broker, PROMPTS.name, [PROMPTS.name]),
            MemorySender(broker),
            Instruct(engine, NoCounter()),
            stage="instruct",
            topic=PROMPTS,
            settings=SETTINGS,
            probe=CountingProbe(),
        )
        with capture_logs() as logs:
            running = asyncio.create_task(loop.run())
            await eventually(lambda: engine.trouble.cause == cause)
            await eventually(lambda: any(log["event"] == "dependency_unavailable" for log in logs))
            assert len(broker.topic(COMPLETIONS.name)) == 0
            blocked = False
            await eventually(lambda: len(broker.topic(COMPLETIONS.name)) == ASKED, 60)
        loop.stop()
        await running
        assert engine.trouble.cause == ""
    events = [log["event"] for log in logs]
    assert len(broker.topic(DEAD_LETTERS.name)) == 0
    assert events.count("model_server_blocked") == 1
    assert events.count("dependency_unavailable") == 1


async def test_a_blocked_worker_is_unready_and_says_why() -> None:
    blocked = False

    def behave(_call: Call) -> Behaviour:
        return refused_as("insufficient_quota", 429) if blocked else chat("Yes.")

    metrics = StageMetrics("instruct", time.monotonic)
    async with BadServer(behave) as server, generating(server) as engine:
        health = Health()
        health.watch(lambda: trouble_of(engine))
        health.set_ready()
        watch_engine(metrics, engine)
        assert health.ready
        blocked = True
        asking = asyncio.create_task(engine.generate(question()))
        await eventually(lambda: not health.ready)
        assert "the quota of the model server is used up" in health.detail
        assert 'engine_trouble{cause="quota",stage="instruct"} 1.0' in metrics.exposition().decode()
        blocked = False
        assert (await asyncio.wait_for(asking, 60)).text == "Yes."
        assert health.ready
        assert 'engine_trouble{cause="quota",stage="instruct"} 0.0' in metrics.exposition().decode()


async def test_only_the_first_request_is_asked_again_while_the_quota_is_used_up() -> None:
    """Everything else waits: a used-up quota costs canaries with growing pauses."""
    blocked = False

    def behave(_call: Call) -> Behaviour:
        return status(402, "pay first") if blocked else chat("Yes.")

    async with (
        BadServer(behave) as server,
        generating(server, concurrency=1, first_pause_s=0.05) as engine,
    ):
        blocked = True
        asking = [asyncio.create_task(engine.generate(question(f"q{n}"))) for n in range(30)]
        await eventually(lambda: len(server.calls) >= 5)
        prompts = sum(call.said != "Are you there?" for call in server.calls)
        blocked = False
        await asyncio.wait_for(asyncio.gather(*asking), 60)
    assert prompts == 1


async def test_a_server_that_rejects_everything_is_at_fault_and_not_the_prompts() -> None:
    """The first rejections are believed; then the canary shows whose fault it is."""
    broken = False

    def behave(_call: Call) -> Behaviour:
        return status(400, "a field is missing") if broken else chat("Yes.")

    async with BadServer(behave) as server, generating(server, first_pause_s=0.02) as engine:
        broken = True
        asking = [asyncio.create_task(engine.generate(question(f"q{n}"))) for n in range(20)]
        await eventually(lambda: "rejects every request" in engine.trouble.detail)
        broken = False
        answers = await asyncio.wait_for(asyncio.gather(*asking, return_exceptions=True), 60)
    failed = [answer for answer in answers if isinstance(answer, BaseException)]
    assert len(failed) == SUSPICIOUS_AT - 1
    assert all(isinstance(error, Poison) for error in failed)


async def test_prompts_that_are_wrong_one_after_the_other_cost_few_canaries() -> None:
    def behave(call: Call) -> Behaviour:
        return chat("Yes.") if call.said == "Are you there?" else status(400, "too long")

    async with BadServer(behave) as server, generating(server) as engine:
        asking = (engine.generate(question(f"q{n}")) for n in range(40))
        answers = await asyncio.gather(*asking, return_exceptions=True)
        canaries = sum(call.said == "Are you there?" for call in server.calls)
    assert all(isinstance(answer, Poison) for answer in answers)
    assert 1 <= canaries <= 4


async def test_an_error_in_a_list_and_flagged_input_are_understood() -> None:
    flagged = {"message": "flagged", "code": 403, "metadata": {"flagged_input": "x"}}
    google = [{"error": {"code": 400, "message": "no", "details": [{"reason": "API_KEY_INVALID"}]}}]
    bodies: Iterator[tuple[int, Any]] = iter([])

    def behave(_call: Call) -> Behaviour:
        return error_body(*next(bodies, (200, chat_body("Yes."))))

    async with BadServer(behave) as server, generating(server) as engine:
        bodies = iter([(403, {"error": flagged})])
        assert (await engine.generate(question())).finish_reason == "content_filter"
        assert len(server.calls) == 1
        bodies = iter([(400, google)])
        assert (await engine.generate(question())).text == "Yes."


@pytest.mark.parametrize("odd", [5, True, "text", [1, None], {"a": 1}, [[]]])
async def test_parts_of_an_error_in_another_form_are_passed_over(odd: Any) -> None:
    error = {"message": "no", "code": 403, "metadata": odd, "details": odd}
    bodies: Iterator[tuple[int, Any]] = iter([])

    def behave(_call: Call) -> Behaviour:
        return error_body(*next(bodies, (200, chat_body("Yes."))))

    async with BadServer(behave) as server, generating(server) as engine:
        bodies = iter([(403, {"error": error})])
        assert (await engine.generate(question())).text == "Yes."
