"""The one place that knows every engine by its name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from promptmill.inference.http.options import Api, GradingOptions, HttpOptions
from promptmill.inference.ports import GeneratorEngine, GraderEngine, Loaded
from promptmill.inference.vllm.options import Runner, VllmOptions
from promptmill.runtime.errors import Misconfigured
from promptmill.runtime.telemetry.metrics import StageMetrics


def watch_engine(metrics: StageMetrics, engine: object) -> None:
    """Show what the engine computes and what waits in it, where it knows."""
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


if TYPE_CHECKING:
    from promptmill.inference.http.grade.grader import GradeForm
    from promptmill.inference.vllm.follower import Follower


def build_generator(
    engine: str,
    model: str,
    *,
    vllm: VllmOptions | None = None,
    http: HttpOptions | None = None,
    api: Api = "chat",
) -> GeneratorEngine:
    """A generator that is not started yet.

    Args:
        engine: ``vllm``, ``openai``, or ``scripted`` for tests and load runs.
        model: folder or name; for ``scripted`` see
            :func:`~promptmill.inference.scripted.read_script`.
        vllm: what ``vllm`` is told beyond the model's name.
        http: the server of ``openai``.
        api: the endpoint of ``openai``.

    Raises:
        Misconfigured: an unknown engine, or no model for it.
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
    """A grader that is not started yet; see :func:`build_generator`.

    Args:
        grading: names of the heads, and how a server is asked.
    """
    if engine == "scripted":
        from promptmill.inference.scripted import ScriptedGrader, read_script

        return ScriptedGrader(read_script(model))
    if engine == "openai":
        from promptmill.inference.http.grade.grader import HttpGrader

        return HttpGrader(_require_http(http), _grade_form(grading or GradingOptions()))
    from promptmill.inference.vllm.grade import VllmGrader

    _require_vllm(engine, model)
    return VllmGrader(vllm or VllmOptions(model), (grading or GradingOptions()).heads)


def build_follower(vllm: VllmOptions, runner: Runner) -> Follower:
    """The ranks of a further host of a group, see :class:`Hosts`."""
    from promptmill.inference.vllm.environment import prepare_environment

    _require_vllm("vllm", vllm.model)
    prepare_environment(vllm, in_process=False)
    from promptmill.inference.vllm.follower import Follower

    return Follower(vllm, runner)


def _grade_form(grading: GradingOptions) -> GradeForm:
    from promptmill.inference.http.grade.classify import ClassifyForm
    from promptmill.inference.http.grade.judge import JudgeForm
    from promptmill.inference.http.grade.reward_model import RewardForm

    if grading.kind == "judge":
        return JudgeForm(grading.rubric, grading.judge_tokens)
    if grading.kind == "classify":
        return ClassifyForm(grading.heads)
    return RewardForm(grading.heads)


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
