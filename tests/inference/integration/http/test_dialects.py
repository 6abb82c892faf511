"""Servers that understand other requests, or are at another address: found out at the start."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import orjson
import pytest
from aiohttp import web
from pydantic import SecretStr

from promptmill.inference.http.abilities import Abilities
from promptmill.inference.http.grade.judge import JudgeFormat
from promptmill.inference.thinking import Thinking
from promptmill.runtime.errors import Misconfigured
from promptmill_schemas import StructuredOutput
from support.bad_answers import Behaviour, chat, status
from support.bad_server import BadServer, Call
from support.http_engines import answered, generating, grading, question

SCHEMA = StructuredOutput(json_schema={"type": "object"})
VERDICT = '{"helpfulness": 4, "correctness": 4, "coherence": 4, "complexity": 1, "verbosity": 2}'


def streamed(text: str = "Yes.") -> Behaviour:
    """A good answer as a stream of two events."""
    chunks = [
        {"choices": [{"index": 0, "delta": {"content": text}}]},
        {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]},
    ]
    events = b"".join(b"data: " + orjson.dumps(chunk) + b"\n\n" for chunk in chunks)

    async def behave(_request: web.Request) -> web.StreamResponse:
        return web.Response(body=events + b"data: [DONE]\n\n", content_type="text/event-stream")

    return behave


def small_seeds(call: Call) -> str:
    seed = call.body.get("seed", 0)
    return "" if seed < 2**31 else "Invalid value at 'generation_config.seed' (TYPE_INT32)"


def no_seeds(call: Call) -> str:
    return "Unknown name seed" if "seed" in call.body else ""


def one_of_two(call: Call) -> str:
    both = {"temperature", "top_p"} <= set(call.body)
    return "`temperature` and `top_p` cannot both be specified" if both else ""


def other_limit(call: Call) -> str:
    said = "Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens'."
    return said if "max_tokens" in call.body else ""


def only_streams(call: Call) -> str:
    return "" if call.body.get("stream") else "this model only supports streaming"


def mute(refuses: Callable[[Call], str]) -> Callable[[Call], str]:
    """The same server, which does not say what it refuses."""
    return lambda call: "bad request" if refuses(call) else ""


@pytest.mark.parametrize("says_why", [True, False])
@pytest.mark.parametrize(
    ("refuses", "setting"),
    [
        (small_seeds, "seed=31"),
        (no_seeds, "seed=none"),
        (one_of_two, "chance=temperature"),
        (other_limit, "limit=max_completion_tokens"),
        (only_streams, "stream=yes"),
    ],
)
async def test_what_the_server_refuses_is_found_at_the_start(
    refuses: Callable[[Call], str], setting: str, *, says_why: bool
) -> None:
    """Afterwards every prompt costs one call."""
    wrong = refuses if says_why else mute(refuses)

    def behave(call: Call) -> Behaviour:
        if message := wrong(call):
            return status(400, message)
        return streamed() if call.body.get("stream") else chat("Yes.")

    async with BadServer(behave) as server, generating(server) as engine:
        assert engine._client.abilities.as_setting() == setting
        for number in range(5):
            answer = await engine.generate(question(f"q{number}", seed=2**62 + number, top_p=0.9))
            assert (answer.text, answer.finish_reason) == ("Yes.", "stop")
        assert len(server.calls) == 5


async def test_two_things_that_the_server_refuses_are_both_found() -> None:
    def behave(call: Call) -> Behaviour:
        message = small_seeds(call) or other_limit(call)
        return status(400, message) if message else chat("Yes.")

    async with BadServer(behave) as server, generating(server) as engine:
        await engine.generate(question(seed=2**62))
        assert engine._client.abilities.as_setting() == "seed=31,limit=max_completion_tokens"


async def test_seeds_stay_different_when_they_are_shortened() -> None:
    def behave(call: Call) -> Behaviour:
        message = small_seeds(call)
        return status(400, message) if message else chat("Yes.")

    async with BadServer(behave) as server, generating(server) as engine:
        for seed in (2**62 + 1, 2**62 + 2):
            await engine.generate(question(seed=seed))
        assert [call.body["seed"] for call in server.calls] == [1, 2]


@pytest.mark.parametrize(
    ("understood", "sent"), [("json_object", {"type": "json_object"}), ("nothing", None)]
)
async def test_a_schema_that_is_refused_costs_one_refusal_for_all_prompts(
    understood: str, sent: Any
) -> None:
    def behave(call: Call) -> Behaviour:
        kind = call.body.get("response_format", {}).get("type")
        is_fine = kind in {None, understood}
        return chat("{}") if is_fine else status(400, f"response_format {kind} is unsupported")

    async with BadServer(behave) as server, generating(server) as engine:
        for number in range(3):
            await engine.generate(question(f"q{number}", structured=SCHEMA))
        answers = [call for call in server.calls if call.body.get("response_format") == sent]
        refused = len(server.calls) - len(answers)
    assert (len(answers), refused) == (3, 1 if sent else 2)


async def test_a_known_dialect_is_used_from_the_first_request_on() -> None:
    def behave(call: Call) -> Behaviour:
        return status(400, "bad request") if small_seeds(call) else chat("Yes.")

    known = Abilities(seed="31")
    async with BadServer(behave) as server, generating(server, abilities=known) as engine:
        await engine.generate(question())
        assert engine._client.abilities is known


async def test_a_refusal_of_everything_names_the_flag_that_helps() -> None:
    async with BadServer(lambda _: status(400, "no such tokenizer")) as server:
        with pytest.raises(Misconfigured, match=r"no such tokenizer.*--dialect.*seed=31"):
            async with generating(server):
                pass


async def test_a_judge_speaks_the_same_dialect() -> None:
    def behave(call: Call) -> Behaviour:
        message = other_limit(call)
        return status(400, message) if message else chat(VERDICT)

    async with BadServer(behave) as server, grading(server, JudgeFormat()) as grader:
        assert (await grader.grade(answered())).helpfulness == 4
        assert len(server.calls) == 1


@pytest.mark.parametrize(
    ("place", "suffix"),
    [
        ("/v1", ""),
        ("/v1", "/"),
        ("/v1", "/v1"),
        ("/v1", "/v1/chat/completions"),
        ("", ""),
        ("", "/v1"),
        ("", "/chat/completions"),
        ("/llm/v1", "/llm"),
        ("/llm", "/llm"),
        ("/v1beta/openai", "/v1beta/openai/"),
        ("/v1beta/openai", "/v1beta/openai/chat/completions"),
        ("/openai/deployments/four", "/openai/deployments/four"),
        ("/openai/deployments/four", "/openai/deployments/four/chat/completions?api-version=2"),
    ],
)
async def test_a_server_is_found_at_the_address_that_was_pasted(place: str, suffix: str) -> None:
    def behave(call: Call) -> Behaviour:
        is_there = call.path == f"{place}/chat/completions"
        return chat("Yes.") if is_there else status(404, "not found")

    async with BadServer(behave) as server:
        url = f"http://127.0.0.1:{server.port}{suffix}"
        async with generating(url) as engine:
            server.calls.clear()
            assert (await engine.generate(question())).text == "Yes."
        assert len(server.calls) == 1


async def test_a_model_that_does_not_exist_is_told_in_the_servers_words() -> None:
    def behave(call: Call) -> Behaviour:
        is_there = call.path.startswith("/v1/")
        return status(404, "The model `m` does not exist" if is_there else "Not Found")

    async with BadServer(behave) as server:
        with pytest.raises(Misconfigured, match="The model `m` does not exist"):
            async with generating(f"http://127.0.0.1:{server.port}"):
                pass


async def test_headers_query_and_azures_key_are_sent_with_every_request() -> None:
    seen: list[tuple[str, Any]] = []

    def behave(call: Call) -> Behaviour:
        async def answer(request: web.Request) -> web.StreamResponse:
            seen.append((request.query_string, request.headers))
            return await chat("Yes.")(request)

        return answer if call.body["model"] == "four" else status(404)

    async with BadServer(behave) as server:
        url = f"http://127.0.0.1:{server.port}/openai/deployments/four?api-version=2024-10-21"
        changes: dict[str, Any] = {
            "model": "",
            "api_key": SecretStr("abc"),
            "headers": {"X-Team": "mill"},
            "query": {"tier": SecretStr("gold")},
        }
        async with generating(url, **changes) as engine:
            await engine.generate(question())
            assert engine.info.model == "four"
    assert {query for query, _ in seen} == {"api-version=2024-10-21&tier=gold"}
    headers = seen[-1][1]
    assert (headers["api-key"], headers["X-Team"]) == ("abc", "mill")
    assert "Authorization" not in headers


VLLM = [{"id": "m", "owned_by": "vllm", "max_model_len": 4096}]


async def test_thinking_and_further_fields_are_asked_for_with_every_request() -> None:
    changes: dict[str, Any] = {
        "thinking": Thinking(is_on=True, budget=512),
        "extra_body": {"top_k": 20, "max_tokens": 1, "chat_template_kwargs": {"tone": "dry"}},
    }
    canaries: list[dict[str, Any]] = []

    def behave(call: Call) -> Behaviour:
        canaries.append(call.body)
        return chat("Yes.")

    async with BadServer(behave, VLLM) as server, generating(server, **changes) as engine:
        await engine.generate(question(max_tokens=64))
        (call,) = server.calls
    for body in (canaries[0], call.body):
        assert body["thinking_token_budget"] == 512
        assert body["chat_template_kwargs"]["enable_thinking"] is True
        assert body["chat_template_kwargs"]["tone"] == "dry"
    assert call.body["top_k"] == 20  # the neutral value is no wish of the prompt
    assert call.body["max_tokens"] == 64


@pytest.mark.parametrize(
    ("refused", "setting", "effort"),
    [
        ({"none"}, "thinking=minimal", "minimal"),
        (set(), "thinking=effort", "none"),
    ],
)
async def test_a_server_without_templates_is_asked_for_an_effort(
    refused: set[str], setting: str, effort: str
) -> None:
    def behave(call: Call) -> Behaviour:
        if "chat_template_kwargs" in call.body:
            return status(400, "unknown field chat_template_kwargs")
        if call.body.get("reasoning_effort") in refused:
            return status(400, "reasoning_effort does not support none")
        return chat("Yes.")

    async with (
        BadServer(behave) as server,
        generating(server, thinking=Thinking(is_on=False)) as engine,
    ):
        assert engine._client.abilities.as_setting() == setting
        await engine.generate(question())
        assert [call.body["reasoning_effort"] for call in server.calls] == [effort]
