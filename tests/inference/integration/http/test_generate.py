"""Answers over HTTP: what is sent, what is understood."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from pydantic import SecretStr

from promptmill.runtime.errors import Misconfigured, Poison
from promptmill_schemas import StructuredOutput
from support.bad_answers import Behaviour, answering, chat, status
from support.bad_server import BadServer, Call
from support.http_engines import generating, question
from support.waiting import eventually

CARDS = [
    {"id": "nemotron", "owned_by": "vllm", "max_model_len": 4096, "parent": None},
    {"id": "poet", "owned_by": "vllm", "max_model_len": 4096, "parent": "nemotron"},
]


async def test_an_answer_comes_with_its_reason_and_counts() -> None:
    async with BadServer(lambda _: chat("Yes.")) as server, generating(server) as engine:
        answer = await engine.generate(question())
    assert (answer.text, answer.finish_reason) == ("Yes.", "stop")
    assert (answer.prompt_tokens, answer.completion_tokens) == (7, 3)


async def test_each_candidate_is_a_request_with_its_own_seed() -> None:
    async with BadServer(lambda _: chat()) as server, generating(server) as engine:
        await asyncio.gather(*(engine.generate(question(seed=n)) for n in (3, 2**62)))
        bodies = [call.body for call in server.calls]
    assert sorted(body["seed"] for body in bodies) == [3, 2**62]
    assert bodies[0]["messages"] == [{"role": "user", "content": "Is 7 prime?"}]
    assert all("n" not in body and body["model"] == "m" for body in bodies)


async def test_the_only_served_model_its_context_and_its_server_are_found() -> None:
    async with (
        BadServer(lambda _: chat(), CARDS) as server,
        generating(server, model="") as engine,
    ):
        await engine.generate(question())
        assert (engine.info.model, engine.context_tokens) == ("nemotron", 4096)
        assert server.calls[0].body["top_k"] == -1


def calling(content: str | None, finish: str) -> Behaviour:
    """An answer that calls a tool."""
    call = {"id": "a", "type": "function", "function": {"name": "add", "arguments": "{}"}}
    message = {"role": "assistant", "content": content, "tool_calls": [call]}
    body = {"choices": [{"index": 0, "message": message, "finish_reason": finish}]}
    return answering(body)


@pytest.mark.parametrize(("content", "finish"), [(None, "tool_calls"), ("Yes.", "stop")])
async def test_calls_of_tools_that_the_prompt_has_not_are_dropped_and_named(
    content: str | None, finish: str
) -> None:
    async with (
        BadServer(lambda _: calling(content, finish)) as server,
        generating(server) as engine,
    ):
        answer = await engine.generate(question())
        assert (answer.text, answer.tool_calls) == (content or "", None)
        assert answer.finish_reason == "tool_calls"
        assert len(server.calls) == 1, "it is paid once"


async def test_calls_of_the_tools_of_the_prompt_or_of_the_settings_are_kept() -> None:
    tool = {"type": "function", "function": {"name": "add"}}
    async with BadServer(lambda _: calling(None, "tool_calls")) as server:
        async with generating(server) as engine:
            answer = await engine.generate(replace(question(), tools=(tool,)))
        assert [call.function.name for call in answer.tool_calls or ()] == ["add"]
        async with generating(server, extra_body={"tools": [tool]}) as engine:
            assert (await engine.generate(question())).tool_calls


async def test_an_adapter_is_asked_for_by_its_name() -> None:
    async with BadServer(lambda _: chat(), CARDS) as server, generating(server) as engine:
        request = question()
        await engine.generate(type(request)("1", request.messages, request.sampling, 1, "poet"))
        assert server.calls[0].body["model"] == "poet"


async def test_several_models_and_no_name_stop_the_start() -> None:
    cards = [{"id": "a"}, {"id": "b"}]
    async with BadServer(lambda _: chat(), cards) as server:
        with pytest.raises(Misconfigured, match=r"a, b: choose one with --model"):
            async with generating(server, model=""):
                pass


async def test_a_base_model_is_asked_for_a_completion() -> None:
    reply = answering({"choices": [{"text": " yes", "finish_reason": "stop", "logprobs": None}]})
    async with (
        BadServer(lambda _: reply) as server,
        generating(server, "completions") as engine,
    ):
        answer = await engine.generate(question("7 is prime:", logprobs=True))
        call = server.calls[0]
    assert answer.text == " yes"
    assert (call.path, call.body["prompt"]) == ("/v1/completions", "7 is prime:")
    assert call.body["logprobs"] == 1
    assert "messages" not in call.body


async def test_the_key_travels_in_the_header_and_nowhere_else() -> None:
    def behave(call: Call) -> Behaviour:
        key = call.headers["Authorization"]
        return status(422, f"you sent {key}") if call.said == "bad" else chat()

    async with (
        BadServer(behave) as server,
        generating(server, api_key=SecretStr("sk-secret")) as engine,
    ):
        with pytest.raises(Poison) as refusal:
            await engine.generate(question("bad"))
        assert server.calls[0].headers["Authorization"] == "Bearer sk-secret"
    assert "you sent Bearer ***" in str(refusal.value)
    assert "sk-secret" not in f"{refusal.value!r} {engine!r}"


async def test_without_a_key_no_header_is_sent() -> None:
    async with BadServer(lambda _: chat()) as server, generating(server) as engine:
        await engine.generate(question())
        assert "Authorization" not in server.calls[0].headers


async def test_more_tokens_than_the_context_has_are_left_to_the_server() -> None:
    def behave(call: Call) -> Behaviour:
        too_many = call.body.get("max_tokens", 0) > 100
        return status(400, "max_tokens is too large for the context length") if too_many else chat()

    async with BadServer(behave) as server, generating(server) as engine:
        assert (await engine.generate(question(max_tokens=512))).text == "Yes."
        assert ["max_tokens" in call.body for call in server.calls] == [True, False]


async def test_a_conversation_longer_than_the_context_is_poison() -> None:
    def behave(call: Call) -> Behaviour:
        return status(400, "maximum context length is 8 tokens") if call.said == "long" else chat()

    async with BadServer(behave) as server, generating(server) as engine:
        with pytest.raises(Poison, match="maximum context length is 8 tokens"):
            await engine.generate(question("long"))


async def test_a_server_that_ignores_the_form_of_an_answer_is_found_out() -> None:
    choice = StructuredOutput(choice=("yes", "no"))
    async with (
        BadServer(lambda _: chat("Yes, of course.")) as server,
        generating(server, server="vllm", tries=2) as engine,
    ):
        with pytest.raises(Poison, match=r"not one of the choices.*answered this 2 times"):
            await engine.generate(question(structured=choice))
        assert len(server.calls) == 2


async def test_an_aborted_request_is_aborted_at_the_server() -> None:
    aborted = asyncio.Event()

    def behave(call: Call) -> Behaviour:
        async def hang(_request: object) -> None:
            try:
                await asyncio.Event().wait()
            finally:
                aborted.set()

        return hang if call.said == "hang" else chat()  # type: ignore[return-value]

    async with BadServer(behave) as server, generating(server, request_timeout_s=30) as engine:
        task = asyncio.create_task(engine.generate(question("hang")))
        await eventually(lambda: server.calls)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await asyncio.wait_for(aborted.wait(), 60)
        assert (await engine.generate(question())).text == "Yes."
