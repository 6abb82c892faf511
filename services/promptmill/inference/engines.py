"""Factories that build an engine from its name and options."""

from __future__ import annotations

from typing import TYPE_CHECKING

from promptmill.inference.http.options import Api, GradingOptions, HttpOptions
from promptmill.inference.ports import (
    ComparisonEngine,
    GeneratorEngine,
    GraderEngine,
    Loaded,
    Troubled,
)
from promptmill.inference.vllm.options import Runner, VllmOptions
from promptmill.runtime.errors import Misconfigured
from promptmill.runtime.telemetry.metrics import StageMetrics

CAUSES = ("quota", "key", "model", "server")
"""The causes of an engine's trouble."""

JUDGE_TOKENS = 512
"""Maximum number of tokens of a judge's verdict, unless a setting gives another."""

if TYPE_CHECKING:
    from promptmill.inference.http.grade.grader import WireFormat
    from promptmill.inference.vllm.follower import Follower


def build_generator(
    engine: str,
    model: str,
    *,
    vllm: VllmOptions | None = None,
    http: HttpOptions | None = None,
    api: Api = "chat",
) -> GeneratorEngine:
    """Create a generator, which the caller has to start.

    Args:
        engine: ``vllm``, ``openai``, or ``scripted`` for tests and load runs.
        model: folder or name of the model; for ``scripted`` the script, see
            :func:`~promptmill.inference.scripted.read_script`.
        vllm: options of the engine ``vllm``.
        http: options of the engine ``openai``, with the server's address.
        api: the endpoint that ``openai`` uses.

    Raises:
        Misconfigured: the engine is unknown, or its model or server is missing.
    """
    if engine == "scripted":
        from promptmill.inference.scripted import ScriptedGenerator, read_script

        return ScriptedGenerator(read_script(model))
    if engine == "openai":
        from promptmill.inference.http.generate import HttpGenerator

        return HttpGenerator(_require_http(http), api)
    from promptmill.inference.vllm.generate import VllmGenerator

    _require_vllm(engine, model)
    return VllmGenerator(vllm or VllmOptions(model))


def build_grader(
    engine: str,
    model: str,
    *,
    vllm: VllmOptions | None = None,
    http: HttpOptions | None = None,
    grading: GradingOptions | None = None,
) -> GraderEngine:
    """Create a grader, which the caller has to start; see :func:`build_generator`.

    Args:
        grading: names of the heads, and the wire format of a server.
    """
    if engine == "scripted":
        from promptmill.inference.scripted import ScriptedGrader, read_script

        return ScriptedGrader(read_script(model))
    if engine == "openai":
        from promptmill.inference.http.grade.grader import HttpGrader

        return HttpGrader(_require_http(http), _wire_format(grading or GradingOptions()))
    from promptmill.inference.vllm.grade import VllmGrader

    _require_vllm(engine, model)
    return VllmGrader(vllm or VllmOptions(model), (grading or GradingOptions()).heads)


def build_comparer(
    engine: str, http: HttpOptions | None, grading: GradingOptions
) -> ComparisonEngine:
    """Create a grader that compares two answers, which the caller has to start.

    Raises:
        Misconfigured: the engine is no server, its address is missing, or the rubric is invalid.
    """
    if engine != "openai":
        raise Misconfigured(
            f"grader is {grading.kind} and engine is {engine!r}: only a server can compare "
            "answers; use --engine openai with --base-url"
        )
    from promptmill.inference.http.grade.genrm import TOKENS, GenRmFormat
    from promptmill.inference.http.grade.grader import HttpComparer
    from promptmill.inference.http.grade.pairwise import PairwiseFormat
    from promptmill.inference.http.grade.rubric import read_rubric

    if grading.kind == "genrm":
        form = GenRmFormat(grading.principle, grading.judge_tokens or TOKENS)
        return HttpComparer(_require_http(http), form)
    rubric = None if grading.rubric is None else read_rubric(grading.rubric)
    tokens = grading.judge_tokens or JUDGE_TOKENS
    return HttpComparer(_require_http(http), PairwiseFormat(rubric, tokens))


def build_follower(vllm: VllmOptions, runner: Runner) -> Follower:
    """Create the ranks of a further host of a group.

    See :class:`~promptmill.inference.vllm.options.Hosts`.
    """
    from promptmill.inference.vllm.environment import prepare_environment

    _require_vllm("vllm", vllm.model)
    prepare_environment(vllm, in_process=False)
    from promptmill.inference.vllm.follower import Follower

    return Follower(vllm, runner)


def watch_engine(metrics: StageMetrics, engine: object) -> None:
    """Register gauges for the engine's requests and its trouble, if it reports them."""
    if isinstance(engine, Troubled):
        metrics.watch_causes(
            "engine_trouble",
            "1 while no request to the model server succeeds, by cause",
            CAUSES,
            lambda: engine.trouble.cause,
        )
    if not isinstance(engine, Loaded):
        return
    metrics.watch(
        "engine_running", "requests that the engine is computing", lambda: engine.load.running
    )
    metrics.watch(
        "engine_waiting",
        "requests that the engine has accepted and not started",
        lambda: engine.load.waiting,
    )


def trouble_of(engine: object) -> str:
    """Why the engine can complete no request at the moment; empty if it can."""
    return engine.trouble.detail if isinstance(engine, Troubled) else ""


def _wire_format(grading: GradingOptions) -> WireFormat:
    from promptmill.inference.http.grade.classify import ClassifyFormat
    from promptmill.inference.http.grade.judge import JudgeFormat
    from promptmill.inference.http.grade.reward_model import RewardModelFormat
    from promptmill.inference.http.grade.rubric import read_rubric

    if grading.kind == "judge":
        rubric = None if grading.rubric is None else read_rubric(grading.rubric)
        return JudgeFormat(rubric, grading.judge_tokens or JUDGE_TOKENS)
    if grading.kind == "classify":
        return ClassifyFormat(grading.heads)
    return RewardModelFormat(grading.heads)


def _require_http(http: HttpOptions | None) -> HttpOptions:
    if http is None:
        raise Misconfigured(
            "engine 'openai' needs the address of a server: give --base-url http://HOST:PORT/v1"
        )
    return http


def _require_vllm(engine: str, model: str) -> None:
    if engine != "vllm":
        raise Misconfigured(f"engine {engine!r} is not available; use vllm, openai or scripted")
    if not model:
        raise Misconfigured(
            "no model was given: use --model with a folder or with a name from the model hub"
        )
