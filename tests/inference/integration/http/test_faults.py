"""Every fault of a server: passed over when it passes, told truly when it stays."""

from __future__ import annotations

import math
from typing import Any

import pytest
from pydantic import SecretStr

from promptmill.inference.http.errors import Malformed
from promptmill.runtime.errors import Exhausted, Poison, Unavailable
from support.bad_answers import (
    SCORES,
    Behaviour,
    chat,
    cut,
    drip,
    faults,
    huge,
    raw,
    reward,
    scores_text,
    slow,
    status,
)
from support.bad_server import BadServer, Call
from support.http_engines import answered, generating, grading, question

FAULTS = range(len(faults(chat())))
IMPATIENT: dict[str, Any] = {"request_timeout_s": 1.0}
"""The slowest of the faults takes longer."""


@pytest.mark.parametrize("number", FAULTS)
async def test_a_fault_that_passes_costs_a_generator_nothing_but_time(number: int) -> None:
    def behave(call: Call) -> Behaviour:
        return faults(chat("Yes."))[number] if call.number == 2 else chat("Yes.")

    async with BadServer(behave) as server, generating(server, **IMPATIENT) as engine:
        assert (await engine.generate(question())).text
        assert len(server.calls) <= 3  # the question, again if it failed, a canary if refused


@pytest.mark.parametrize("number", FAULTS)
async def test_a_fault_that_passes_costs_a_grader_nothing_but_time(number: int) -> None:
    def behave(call: Call) -> Behaviour:
        return faults(reward())[number] if call.number == 2 else reward()

    async with BadServer(behave) as server, grading(server, **IMPATIENT) as engine:
        scores = await engine.grade(answered())
    assert scores.model_dump() == SCORES


@pytest.mark.parametrize(
    "fault",
    [
        status(500, "CUDA error"),
        status(504),
        cut(),
        cut(b'{"choices"'),
        raw(b"<html>", "text/html"),
        raw(b'{"choices": []}'),
        raw(b'{"error": {"message": "worker died", "code": 500}}'),
        chat(None, finish_reason=None),
    ],
)
async def test_a_request_that_the_server_always_fails_has_one_budget(
    fault: Behaviour,
) -> None:
    def behave(call: Call) -> Behaviour:
        return fault if call.said == "bad" else chat()

    async with BadServer(behave) as server, generating(server) as engine:
        with pytest.raises(Exhausted, match="this was attempt 10, the last one") as failure:
            await engine.generate(question("bad"))
        assert sum(call.said == "bad" for call in server.calls) == 10
        assert (await engine.generate(question())).text == "Yes."
    cause = failure.value.__cause__
    assert server.base_url in str(cause) or isinstance(cause, Malformed)


@pytest.mark.parametrize(
    "body",
    [
        b'{"object": "error", "message": "the worker died", "code": 50001}',
        b'{"choices": [{"error": {"code": 502, "message": "the worker died"}, "message": {}}]}',
        b'{"error": {"message": "the worker died"}, "choices": [{"message": {"content": "The"}}]}',
        b'{"error": "the worker died"}',
    ],
)
async def test_an_error_with_status_200_is_an_error_with_the_servers_words(body: bytes) -> None:
    def behave(call: Call) -> Behaviour:
        return raw(body) if call.said == "bad" else chat()

    async with BadServer(behave) as server, generating(server) as engine:
        with pytest.raises(Exhausted, match="the worker died"):
            await engine.generate(question("bad"))


async def test_an_error_of_the_request_with_status_200_is_poison_at_once() -> None:
    body = b'{"object": "error", "message": "the prompt is too odd", "code": 400}'

    def behave(call: Call) -> Behaviour:
        return raw(body) if call.said == "bad" else chat()

    async with BadServer(behave) as server, generating(server) as engine:
        with pytest.raises(Poison, match="the prompt is too odd"):
            await engine.generate(question("bad"))
        assert len(server.calls) == 1


@pytest.mark.parametrize("code", [400, 413, 422, 451])
async def test_a_request_that_the_server_calls_wrong_is_poison_at_once(code: int) -> None:
    def behave(call: Call) -> Behaviour:
        return status(code, "messages.0 is too odd") if call.said == "bad" else chat()

    async with BadServer(behave) as server, generating(server) as engine:
        with pytest.raises(Poison, match=rf"answers {code}: messages.0 is too odd"):
            await engine.generate(question("bad"))
        assert len(server.calls) == 1


async def test_a_request_above_the_rate_limit_of_all_time_is_poison() -> None:
    def behave(call: Call) -> Behaviour:
        said = "Request too large for m: limit 10000, requested 12000"
        return status(429, said) if call.said == "bad" else chat()

    async with BadServer(behave) as server, generating(server) as engine:
        with pytest.raises(Poison, match="Request too large"):
            await engine.generate(question("bad"))


async def test_a_slow_answer_ends_at_the_deadline_of_its_request() -> None:
    def behave(call: Call) -> Behaviour:
        return slow(60, chat()) if call.said == "bad" else chat()

    async with (
        BadServer(behave) as server,
        generating(server, request_timeout_s=0.1, tries=2) as engine,
    ):
        with pytest.raises(Exhausted, match=r"did not answer within 0\.1 s"):
            await engine.generate(question("bad"))


async def test_an_answer_that_trickles_ends_at_the_deadline_too() -> None:
    def behave(call: Call) -> Behaviour:
        return drip() if call.said == "bad" else chat()

    async with (
        BadServer(behave) as server,
        generating(server, request_timeout_s=0.2, tries=1) as engine,
    ):
        with pytest.raises(Exhausted, match=r"did not answer within 0\.2 s"):
            await engine.generate(question("bad"))


async def test_a_huge_body_is_not_read_to_its_end() -> None:
    def behave(call: Call) -> Behaviour:
        return huge(1 << 40) if call.said == "bad" else chat()

    async with (
        BadServer(behave) as server,
        generating(server, request_timeout_s=30, tries=1) as engine,
    ):
        with pytest.raises(Exhausted, match=r"sent more than \d+ bytes"):
            await engine.generate(question("bad"))


@pytest.mark.parametrize("value", [math.nan, math.inf])
async def test_a_grader_that_always_says_nan_refuses_the_answer_and_no_other(
    value: float,
) -> None:
    bad = chat(scores_text(SCORES | {"coherence": value}))

    def behave(call: Call) -> Behaviour:
        return bad if call.said == "bad" else reward()

    async with BadServer(behave) as server, grading(server) as engine:
        with pytest.raises(Poison, match="coherence is"):
            await engine.grade(answered(text="bad"))
        assert (await engine.grade(answered())).model_dump() == SCORES


async def test_a_grader_that_says_nan_among_other_faults_says_nothing_about_the_answer() -> None:
    bad = [chat(scores_text(SCORES | {"coherence": "nan"})), status(500)]

    def behave(call: Call) -> Behaviour:
        return bad[call.number % 2] if call.said == "bad" else reward()

    async with BadServer(behave) as server, grading(server) as engine:
        with pytest.raises(Exhausted):
            await engine.grade(answered(text="bad"))


async def test_a_key_that_is_revoked_is_not_told_with_its_value() -> None:
    def behave(call: Call) -> Behaviour:
        return chat() if call.number == 1 else status(403, "key sk-secret is revoked")

    async with (
        BadServer(behave) as server,
        generating(server, api_key=SecretStr("sk-secret"), patience_s=0.5) as engine,
    ):
        with pytest.raises(Unavailable, match="PROMPTMILL_API_KEY") as waiting:
            await engine.generate(question())
        assert engine.trouble.cause == "key"
        assert "sk-secret" not in f"{waiting.value} {engine.trouble}"


async def test_a_refusal_of_one_request_is_that_requests_own() -> None:
    def behave(call: Call) -> Behaviour:
        return status(403, "flagged by moderation") if call.said == "bad" else chat()

    async with BadServer(behave) as server, generating(server) as engine:
        with pytest.raises(Exhausted, match="flagged by moderation"):
            await engine.generate(question("bad"))
        assert (await engine.generate(question())).text == "Yes."
