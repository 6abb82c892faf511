"""Settings of vLLM: passed on, refused where they contradict each other or belong to promptmill."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from promptmill.inference.engines import build_grader
from promptmill.inference.vllm.grade import VllmGrader
from promptmill.inference.vllm.options import Hosts
from promptmill.inference.vllm.reserved_arguments import RESERVED, refuse_unknown
from promptmill.instruct.settings import InstructSettings
from promptmill.reward.settings import RewardSettings
from promptmill.runtime.errors import Misconfigured
from promptmill.stream.stage_settings import parse_settings

STAGES = pytest.mark.parametrize("stage", [InstructSettings, RewardSettings])


@pytest.fixture(autouse=True)
def _home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PROMPTMILL_HOME", str(tmp_path))


def parsed(*argv: str, stage: type[Any] = InstructSettings) -> Any:
    return parse_settings(stage, argv, "")


@STAGES
def test_what_is_set_reaches_the_engine(stage: type[Any]) -> None:
    flags = (
        "--model NAME --revision abc --tensor-parallel 4 --pipeline-parallel 2 --nnodes 2 "
        "--node-rank 1 --master-addr 10.0.0.1 --master-port 4000 --dtype bfloat16 "
        "--context-tokens 4096 --sequences 32 --kv-cache-bytes 1000000 --cpu-threads 3 "
        "--watchdog-s 7"
    )
    options = parsed(*flags.split(), stage=stage).vllm_options()
    assert (options.model, options.revision, options.dtype) == ("NAME", "abc", "bfloat16")
    assert (options.tensor_parallel, options.pipeline_parallel) == (4, 2)
    assert (options.ranks, options.ranks_here) == (8, 4)
    assert options.hosts == Hosts(2, 1, "10.0.0.1", 4000)
    assert (options.context_tokens, options.sequences) == (4096, 32)
    assert (options.kv_cache_bytes, options.threads, options.watchdog_s) == (1_000_000, 3, 7.0)


@STAGES
def test_other_arguments_are_passed_on_from_flags_environment_and_file(
    stage: type[Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    table = f"[{stage.stage}.vllm]\nseed = 3\n"
    (tmp_path / "promptmill.toml").write_text(table)
    assert parsed(stage=stage).vllm_options().extra == {"seed": 3}
    monkeypatch.setenv("PROMPTMILL_VLLM", "quantization=fp8")
    assert parsed(stage=stage).vllm_options().extra == {"quantization": "fp8"}
    flags = ("--vllm", 'hf_overrides={"a":1,"b":2}', "--vllm", "enforce_eager=true")
    extra = parsed(*flags, stage=stage).vllm_options().extra
    assert extra == {"hf_overrides": {"a": 1, "b": 2}, "enforce_eager": True}


@pytest.mark.parametrize("name", [*RESERVED, "data_parallel_backend"])
def test_what_promptmill_sets_itself_is_refused(name: str) -> None:
    with pytest.raises(
        Misconfigured, match=rf"vllm\.{name} is 1: this argument cannot be set; \w+"
    ):
        parsed("--vllm", f"{name}=1").vllm_options()


def test_an_argument_that_vllm_does_not_have_is_named_with_those_near_it() -> None:
    with pytest.raises(Misconfigured, match=r"vllm\.block_sise is 16: .* block_size"):
        refuse_unknown({"block_sise": 16}, ["block_size", "seed"])


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        ("--node-rank 1", "node_rank is 1 and nnodes is 1"),
        ("--nnodes 2 --tensor-parallel 2", "master_addr is empty: give --master-addr"),
        ("--nnodes 2 --tensor-parallel 3 --master-addr h", "is 3 and nnodes is 2"),
        ("--kv-cache-bytes 1 --gpu-memory-share 0.5", "kv_cache_bytes is 1 and gpu_memory_share"),
    ],
)
def test_contradictions_are_refused(flags: str, told: str) -> None:
    with pytest.raises(Misconfigured, match=told):
        parsed(*flags.split()).vllm_options()


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        ("--dtype int3", "dtype is 'int3'"),
        ("--gpu-memory-share 1.5", "gpu_memory_share is '1.5'"),
        ("--sequences 0", "sequences is '0'"),
        ("--vllm seed", r"vllm is \*\*\*.*not a NAME=VALUE pair"),
        ("--adapters law", "adapters is 'law'.*not a NAME=VALUE pair"),
    ],
)
def test_a_wrong_value_is_named(flags: str, told: str) -> None:
    with pytest.raises(Misconfigured, match=told):
        parsed(*flags.split())


@STAGES
def test_a_host_that_is_not_the_first_only_computes(stage: type[Any]) -> None:
    flags = ("--nnodes", "2", "--tensor-parallel", "2", "--master-addr", "h", "--node-rank")
    assert not parsed(*flags, "0", stage=stage).follows
    assert parsed(*flags, "1", stage=stage).follows
    assert not parsed(*flags, "1", "--engine", "scripted", stage=stage).follows


def test_the_names_of_heads_reach_the_grader_in_vllm_too() -> None:
    settings = parsed("--heads.helpfulness", "good", stage=RewardSettings)
    grader = build_grader("vllm", "NAME", vllm=settings.vllm_options(), grading=settings.grading())
    assert isinstance(grader, VllmGrader)
    assert grader._names == {"helpfulness": "good"}


def test_adapters_are_looked_at_and_belong_to_vllm(tmp_path: Path) -> None:
    flag = ("--adapters", f"law={tmp_path}/a,code={tmp_path}/b")
    assert parsed(*flag).adapters == {"law": f"{tmp_path}/a", "code": f"{tmp_path}/b"}
    with pytest.raises(Misconfigured, match=r"adapters\.law is .*/a: the folder does not exist"):
        parsed(*flag).loaded_adapters()
    with pytest.raises(Misconfigured, match="engine is 'openai': only vllm loads adapters"):
        parsed(*flag, "--engine", "openai").loaded_adapters()
    assert parsed().loaded_adapters() == {}


@STAGES
@pytest.mark.parametrize(
    ("flags", "slots"),
    [
        ("", 384),
        ("--sequences 8", 12),
        ("--sequences 1", 2),
        ("--engine openai --concurrency 100", 150),
        ("--engine scripted", 64),
        ("--sequences 8 --slots 3", 3),
    ],
)
def test_slots_keep_the_engine_full_even_with_one_candidate_a_prompt(
    stage: type[Any], flags: str, slots: int
) -> None:
    assert parsed(*flags.split(), stage=stage).loop_settings().slots == slots
