"""A server that goes away and comes back, and one that never comes."""

from __future__ import annotations

import asyncio
import socket

import pytest

from promptmill.runtime.errors import Fatal, Misconfigured, Unavailable
from support.bad_answers import Behaviour, chat, raw, status
from support.bad_server import BadServer, Call
from support.http_engines import generating, question


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


async def test_requests_wait_for_a_server_that_was_restarted() -> None:
    async with BadServer(lambda _: chat()) as server, generating(server) as engine:
        await engine.generate(question())
        await server.__aexit__(None, None, None)
        requests = [asyncio.create_task(engine.generate(question(f"q{n}"))) for n in range(40)]
        await asyncio.sleep(0.3)
        assert not any(task.done() for task in requests)
        await server.__aenter__()
        answers = await asyncio.wait_for(asyncio.gather(*requests), 60)
    assert len(answers) == 40


async def test_failures_of_an_outage_are_no_requests_fault() -> None:
    healthy = True

    def behave(_call: Call) -> Behaviour:
        return chat() if healthy else status(500, "out of memory")

    async with BadServer(behave) as server, generating(server, tries=3) as engine:
        healthy = False
        requests = [asyncio.create_task(engine.generate(question(f"q{n}"))) for n in range(30)]
        await asyncio.sleep(0.5)
        healthy = True
        answers = await asyncio.wait_for(asyncio.gather(*requests), 60)
    assert len(answers) == 30


async def test_a_request_that_failed_in_an_outage_has_all_of_its_tries_afterwards() -> None:
    healthy, failed = True, set[str]()

    def behave(call: Call) -> Behaviour:
        passing = healthy and call.said != "Are you there?" and call.said not in failed
        failed.update({call.said} if passing else ())
        return status(500) if passing or not healthy else chat()

    async with (
        BadServer(behave) as server,
        generating(server, tries=2, first_pause_s=0.1) as engine,
    ):
        failed.clear()
        healthy = False
        requests = [asyncio.create_task(engine.generate(question(f"q{n}"))) for n in range(16)]
        await asyncio.sleep(0.3)
        healthy = True
        answers = await asyncio.wait_for(asyncio.gather(*requests), 60)
        assert len(failed) == 16
    assert len(answers) == 16


async def test_in_an_outage_only_canaries_are_sent() -> None:
    healthy = True

    def behave(_call: Call) -> Behaviour:
        return chat() if healthy else raw(b"<html>maintenance</html>", "text/html")

    async with BadServer(behave) as server, generating(server, concurrency=16) as engine:
        healthy = False
        requests = [asyncio.create_task(engine.generate(question(f"q{n}"))) for n in range(300)]
        await asyncio.sleep(0.5)
        asked = sum(call.said != "Are you there?" for call in server.calls)
        healthy = True
        await asyncio.wait_for(asyncio.gather(*requests), 60)
    assert asked <= 32


async def test_a_record_is_handed_back_uncounted_when_the_server_stays_away() -> None:
    async with BadServer(lambda _: chat()) as server, generating(server, patience_s=0.3) as engine:
        await server.__aexit__(None, None, None)
        with pytest.raises(Unavailable, match="check that the server is running"):
            await engine.generate(question())
        await server.__aenter__()


async def test_a_server_that_never_comes_ends_the_start_with_its_url_and_the_remedy() -> None:
    url = f"http://127.0.0.1:{free_port()}/v1"
    with pytest.raises(Fatal, match=rf"{url} did not answer within 0\.3 s.*start the server"):
        async with generating(url, start_limit_s=0.3):
            pass


async def test_a_server_that_comes_later_is_waited_for() -> None:
    server = BadServer(lambda _: chat(), port=free_port())

    async def come_later() -> None:
        await asyncio.sleep(0.3)
        await server.__aenter__()

    coming = asyncio.create_task(come_later())
    async with generating(server) as engine:
        assert (await engine.generate(question())).text == "Yes."
    await coming
    await server.__aexit__(None, None, None)


async def test_a_server_that_loads_its_model_is_waited_for() -> None:
    def behave(call: Call) -> Behaviour:
        return status(503, "loading model") if call.number < 4 else chat()

    async with BadServer(behave) as server, generating(server) as engine:
        assert (await engine.generate(question())).text == "Yes."


@pytest.mark.parametrize(
    ("fault", "remedy"),
    [
        (status(401, "no key"), "PROMPTMILL_API_KEY"),
        (status(404, "model m does not exist"), "--model"),
        (status(308, "moved", Location="https://elsewhere/v1"), "--base-url"),
        (status(400, "unknown field seed"), "unknown field seed"),
    ],
)
async def test_a_refused_first_request_ends_the_start_with_the_remedy(
    fault: Behaviour, remedy: str
) -> None:
    async with BadServer(lambda _: fault) as server:
        with pytest.raises(Misconfigured, match=remedy):
            async with generating(server):
                pass


async def test_one_refusal_by_a_faulty_server_does_not_end_the_start() -> None:
    def behave(call: Call) -> Behaviour:
        return status(401) if call.number == 1 else chat()

    async with BadServer(behave) as server, generating(server) as engine:
        assert (await engine.generate(question())).text == "Yes."
