"""Grades over HTTP in the three wire formats."""

from __future__ import annotations

import orjson
import pytest

from promptmill.inference.http.grade.classify import ClassifyFormat
from promptmill.inference.http.grade.judge import JudgeFormat
from promptmill.inference.ports import GraderInfo
from promptmill.runtime.errors import Misconfigured, Poison
from promptmill_schemas import ATTRIBUTES, AttributeScores
from support.bad_answers import SCORES, Behaviour, answering, chat, raw, reward, status
from support.bad_server import BadServer, Call
from support.http_engines import answered, grading

GOOD_VERDICT = orjson.dumps(dict.fromkeys(ATTRIBUTES, 3)).decode()


async def test_a_reward_model_grades_the_last_turn() -> None:
    cards = [{"id": "nvidia/nemotron-4-340b-reward", "context_length": 4096}]
    async with (
        BadServer(lambda _: reward(), cards) as server,
        grading(server, model="") as engine,
    ):
        scores = await engine.grade(answered("Yes, it is."))
        assert engine.info == GraderInfo("openai-nim", "nvidia/nemotron-4-340b-reward")
        assert engine.context_tokens == 4096
        assert server.calls[0].body["messages"][-1]["content"] == "Yes, it is."
    assert scores == AttributeScores(**SCORES)


async def test_an_answer_that_is_too_long_is_refused_and_not_cut() -> None:
    def behave(call: Call) -> Behaviour:
        return status(400, "5000 tokens, 4096 are allowed") if call.said == "long" else reward()

    async with BadServer(behave) as server, grading(server) as engine:
        with pytest.raises(Poison, match="5000 tokens, 4096 are allowed"):
            await engine.grade(answered(text="long"))


async def test_scores_that_are_not_the_five_end_the_start_with_the_setting_to_give() -> None:
    async with BadServer(lambda _: chat("safety:1.0,style:2.0")) as server:
        with pytest.raises(Misconfigured, match=r"--heads\.helpfulness"):
            async with grading(server):
                pass


async def test_a_pooling_endpoint_is_asked_beside_the_api() -> None:
    data = [{"index": 0, "label": "LABEL_0", "probs": [4.0, 3.0, 2.0, 1.0, 0.0]}]
    reply = answering({"object": "list", "data": data})
    async with BadServer(lambda _: reply) as server, grading(server, ClassifyFormat()) as engine:
        scores = await engine.grade(answered())
        assert (server.calls[0].path, server.calls[0].body["use_activation"]) == (
            "/classify",
            False,
        )
    assert (scores.helpfulness, scores.verbosity) == (4.0, 0.0)


async def test_a_judge_is_asked_again_after_a_verdict_that_does_not_count() -> None:
    bad = ["Good answer!", GOOD_VERDICT.replace("3", "9", 1)]

    def behave(call: Call) -> Behaviour:
        return chat(bad[call.number - 2] if 2 <= call.number <= 3 else GOOD_VERDICT)

    async with BadServer(behave) as server, grading(server, JudgeFormat()) as engine:
        scores = await engine.grade(answered())
        assert engine.info.engine == "openai-judge"
        assert engine.info.revision.startswith("rubric-")
        assert [call.body["temperature"] for call in server.calls] == [0.0, 0.25, 0.5]
    assert scores.coherence == 3.0


async def test_a_judge_that_never_gives_a_verdict_is_no_grader_of_this_answer() -> None:
    def behave(call: Call) -> Behaviour:
        material = call.body["messages"][-1]["content"]
        return chat("No comment." if "Is 7 prime?" in material else GOOD_VERDICT)

    async with BadServer(behave) as server, grading(server, JudgeFormat()) as engine:
        with pytest.raises(Poison, match=r"not a JSON object.*answered this 5 times"):
            await engine.grade(answered())
        assert len(server.calls) == 5


async def test_a_judge_at_a_server_without_structured_output_is_read_as_strictly() -> None:
    def behave(call: Call) -> Behaviour:
        if "response_format" in call.body:
            return status(400, "response_format is not supported")
        return chat(f"Verdict: {GOOD_VERDICT}")

    async with BadServer(behave) as server, grading(server, JudgeFormat()) as engine:
        assert (await engine.grade(answered())).helpfulness == 3.0
        assert "response_format" not in server.calls[0].body


async def test_a_nan_in_the_json_itself_never_passes() -> None:
    entries = [b'{"token": "%b", "logprob": NaN}' % name.encode() for name in ATTRIBUTES]
    content = b",".join(entries)
    reply = raw(b'{"choices": [{"message": null, "logprobs": {"content": [%b]}}]}' % content)

    def behave(call: Call) -> Behaviour:
        return reply if call.said == "bad" else reward()

    async with BadServer(behave) as server, grading(server) as engine:
        with pytest.raises(Poison, match="helpfulness is nan"):
            await engine.grade(answered(text="bad"))
