"""``vllm.LLM.chat`` in a process of its own, as one would write it by hand; for the benchmark.

It loads the model once and answers the prompts of each run whose name comes in, with the seeds
that an instruct worker would use.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

from promptmill.inference.vllm.config import make_config
from promptmill.inference.vllm.environment import prepare_environment
from promptmill.inference.vllm.generate import sampling_params
from promptmill.inference.vllm.options import VllmOptions
from promptmill_schemas import Message, Prompt, Sampling
from promptmill_schemas.ids import candidate_seed

QUESTION = "Tell me of number {} and of what it is good for, in a few words or in many. "


@dataclass(frozen=True)
class Load:
    """What is asked of both sides.

    Attributes:
        candidates: of each prompt.
        repeat: how often its question stands in a prompt.
    """

    model: str
    prompts: int
    candidates: int
    max_tokens: int
    repeat: int
    sequences: int

    @property
    def options(self) -> VllmOptions:
        """What both engines are told."""
        return VllmOptions(self.model, dtype="float32", sequences=self.sequences, watchdog_s=600)

    def prompts_of(self, run: str) -> list[Prompt]:
        """The same in both processes: their seeds come from the run's name."""
        sampling = Sampling(max_tokens=self.max_tokens)
        return [
            Prompt.create(
                run,
                (Message(role="user", content=QUESTION.format(number) * self.repeat),),
                n=self.candidates,
                sampling=sampling,
            )
            for number in range(self.prompts)
        ]


@dataclass(frozen=True)
class Pace:
    """What one round came to; the processor's time depends less on who else is at work."""

    tokens: int
    seconds: float
    cpu_s: float

    @property
    def tokens_per_s(self) -> float:
        """Answered tokens; those of the prompts are not counted."""
        return self.tokens / self.seconds


class Bare:
    """The process, seen from the benchmark."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def read(self) -> str:
        """Its next line."""
        assert self._process.stdout is not None
        if not (line := self._process.stdout.readline()):
            raise RuntimeError("the bare script has ended; its errors are above")
        return line.strip()

    def round(self, run: str) -> Pace:
        """Answer the prompts of this run."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{run}\n")
        self._process.stdin.flush()
        return Pace(**json.loads(self.read()))


@contextmanager
def bare_process(load: Load) -> Iterator[Bare]:
    """A process with a loaded model, that waits for rounds."""
    command = [sys.executable, __file__, json.dumps(asdict(load))]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            bare = Bare(process)
            while bare.read() != "ready":
                pass  # vLLM prints, too
            yield bare
        finally:
            process.terminate()


def answer(llm: Any, prompts: Sequence[Prompt]) -> Pace:
    """All prompts in one call, as vLLM's documentation shows it."""
    turns = [
        [{"role": message.role, "content": message.content} for message in prompt.messages]
        for prompt in prompts
        for _ in range(prompt.n)
    ]
    start, busy = time.perf_counter(), time.process_time()
    params = [
        sampling_params(prompt.sampling, candidate_seed(prompt.prompt_id, index))
        for prompt in prompts
        for index in range(prompt.n)
    ]
    outputs = llm.chat(turns, params, use_tqdm=False)
    seconds, cpu_s = time.perf_counter() - start, time.process_time() - busy
    return Pace(sum(len(output.outputs[0].token_ids) for output in outputs), seconds, cpu_s)


def main() -> None:
    load = Load(**json.loads(sys.argv[1]))
    prepare_environment(load.options, in_process=True)
    from vllm import LLM

    config = make_config(load.options, "generate")  # only to give both the same memory
    llm = LLM(
        model=load.model,
        dtype="float32",
        max_num_seqs=load.sequences,
        kv_cache_memory_bytes=config.cache_config.kv_cache_memory_bytes,
        enforce_eager=True,
        enable_chunked_prefill=False,
    )
    print("ready", flush=True)
    for line in sys.stdin:
        print(json.dumps(asdict(answer(llm, load.prompts_of(line.strip())))), flush=True)


if __name__ == "__main__":
    main()
