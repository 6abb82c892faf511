"""The one place that knows every engine by its name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from promptmill.core.engines.base import GeneratorEngine, GraderEngine
from promptmill.core.engines.openai.options import Api, GradingOptions, HttpOptions
from promptmill.core.engines.vllm_options import Runner, VllmOptions
from promptmill.core.errors import Misconfigured

if TYPE_CHECKING:
    from promptmill.core.engines.openai.form import GradeForm
    from promptmill.core.engines.vllm_follower import Follower


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
            :func:`~promptmill.core.engines.scripted.read_script`.
        vllm: what ``vllm`` is told beyond the model's name.
        http: the server of ``openai``.
        api: the endpoint of ``openai``.

    Raises:
        Misconfigured: an unknown engine, or no model for it.
    """
    if engine == "scripted":
        from promptmill.core.engines.scripted import ScriptedGenerator, read_script

        return ScriptedGenerator(read_script(model))
    if engine == "openai":
        from promptmill.core.engines.openai.generate import HttpGenerator

        return HttpGenerator(_require_http(http), api)
    from promptmill.core.engines.vllm_generate import VllmGenerator

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
        from promptmill.core.engines.scripted import ScriptedGrader, read_script

        return ScriptedGrader(read_script(model))
    if engine == "openai":
        from promptmill.core.engines.openai.grade import HttpGrader

        return HttpGrader(_require_http(http), _grade_form(grading or GradingOptions()))
    from promptmill.core.engines.vllm_grade import VllmGrader

    _require_vllm(engine, model)
    return VllmGrader(vllm or VllmOptions(model), (grading or GradingOptions()).heads)


def build_follower(vllm: VllmOptions, runner: Runner) -> Follower:
    """The ranks of a further host of a group, see :class:`Hosts`."""
    from promptmill.core.engines.vllm_environment import prepare_environment

    _require_vllm("vllm", vllm.model)
    prepare_environment(vllm, in_process=False)
    from promptmill.core.engines.vllm_follower import Follower

    return Follower(vllm, runner)


def _grade_form(grading: GradingOptions) -> GradeForm:
    from promptmill.core.engines.openai.grade_classify import ClassifyForm
    from promptmill.core.engines.openai.grade_reward import RewardForm
    from promptmill.core.engines.openai.judge import JudgeForm

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
