"""A server that wants fewer requests, or later ones, gets them; no request is dropped."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from promptmill.inference.http.limiter import HOLD_AFTER
from promptmill.runtime.errors import Unavailable
from support.bad_answers import Behaviour, chat, slow, status
from support.bad_server import BadServer, Call
from support.http_engines import generating, question


async def test_no_more_requests_are_at_the_server_than_allowed() -> None:
    async with (
        BadServer(lambda _: slow(0.02, chat())) as server,
        generating(server, concurrency=7) as engine,
    ):
        await asyncio.gather(*(engine.generate(question(seed=n)) for n in range(60)))
        assert server.peak == 7


@pytest.mark.parametrize("named", [True, False])
async def test_a_storm_delays_requests_and_drops_none(*, named: bool) -> None:
    end = 0.0

    def behave(call: Call) -> Behaviour:
        nonlocal end
        end = end or (time.monotonic() + 0.6 if call.said != "Are you there?" else 0.0)
        headers = {"Retry_After": "0.2"} if named else {}
        return status(429, **headers) if time.monotonic() < end else chat()

    async with BadServer(behave) as server, generating(server, concurrency=32) as engine:
        requests = [question(f"q{n}") for n in range(200)]
        answers = await asyncio.gather(*map(engine.generate, requests))
        refused = len(server.calls) - len(requests)
    assert len(answers) == len(requests)
    assert refused < 150


async def test_after_refusals_in_a_row_nobody_asks_before_the_named_time() -> None:
    refusals: list[float] = []

    def behave(call: Call) -> Behaviour:
        if call.said != "Are you there?" and len(refusals) < 4:
            refusals.append(call.at)
            return status(429, Retry_After="0.5")
        return chat()

    async with BadServer(behave) as server, generating(server, concurrency=4) as engine:
        await asyncio.gather(*(engine.generate(question(f"q{n}")) for n in range(40)))
        early = [call for call in server.calls if call.at < refusals[0] + 0.5]
    assert len(early) <= HOLD_AFTER + 4  # those that were under way when the fourth came back


@pytest.mark.parametrize("code", [429, 503, 529])
async def test_a_date_is_waited_for(code: int) -> None:
    def behave(call: Call) -> Behaviour:
        until = format_datetime(datetime.now(UTC) + timedelta(seconds=2), usegmt=True)
        return status(code, Retry_After=until) if call.number == 2 else chat()

    async with BadServer(behave) as server, generating(server) as engine:
        start = time.monotonic()
        await engine.generate(question())
    assert time.monotonic() - start > 0.9


async def test_a_busy_server_never_uses_up_the_tries_of_a_request() -> None:
    def behave(call: Call) -> Behaviour:
        return status(429, Retry_After="0") if 1 < call.number < 8 else chat()

    async with BadServer(behave) as server, generating(server, tries=2) as engine:
        assert (await engine.generate(question())).text == "Yes."


async def test_a_record_is_handed_back_uncounted_when_the_patience_is_over() -> None:
    def behave(call: Call) -> Behaviour:
        return chat() if call.number == 1 else status(429, "quota", Retry_After="3600")

    async with BadServer(behave) as server, generating(server, patience_s=0.3) as engine:
        with pytest.raises(Unavailable, match="quota") as waiting:
            await engine.generate(question())
    assert waiting.value.retry_after_s == 60.0
