"""The environment variables that vLLM reads when it is imported.

A variable that the user has set is kept, unless it determines how promptmill drives the engine.
"""

from __future__ import annotations

import ctypes
import logging
import os
import platform
import warnings
from importlib import metadata
from pathlib import Path

import structlog

from promptmill.inference.vllm.options import VllmOptions
from promptmill.runtime.errors import Misconfigured
from promptmill.runtime.settings import load_settings

log = structlog.get_logger(__name__)

LIBNUMA = "libnuma.so.1"
LIBNUMA_STUBS = Path(__file__).parent / "libnuma"
"""The stub's source, and its library for each architecture, built by ``scripts/build-libnuma``."""

_QUIET_LOGGERS = ("vllm", "torch.utils.flop_counter", "torch._library.triton")


def prepare_environment(options: VllmOptions, *, in_process: bool) -> None:
    """Set the environment of vLLM and torch for this process and the ranks that it starts.

    Args:
        options: the model and the engine's options.
        in_process: whether the engine runs inside this process.
    """
    os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0" if in_process else "1"
    for name, value in _defaults(options).items():
        os.environ.setdefault(name, value)
    provide_libnuma()
    for library in (r"vllm(\.|$)", r"torch(\.|$)", r"transformers(\.|$)"):
        warnings.filterwarnings("ignore", module=library)


def provide_libnuma() -> None:
    """Make libnuma loadable, in this process and in those it starts, on a machine without it.

    vLLM's CPU kernels are linked to it, but no wheel carries it and minimal images lack it. Our
    stub answers that the machine has no NUMA policy, and the kernels then call nothing else.
    """
    folder = LIBNUMA_STUBS / platform.machine()
    if _loads(LIBNUMA) or not folder.is_dir():
        return
    stub = folder / LIBNUMA
    ctypes.CDLL(str(stub), mode=ctypes.RTLD_GLOBAL)
    paths = [str(folder), *filter(None, [os.environ.get("LD_LIBRARY_PATH")])]
    os.environ["LD_LIBRARY_PATH"] = os.pathsep.join(paths)
    log.info(
        "libnuma_stub_used", path=str(stub), reason=f"{LIBNUMA} is not installed on this machine"
    )


def _loads(library: str) -> bool:
    try:
        ctypes.CDLL(library)
    except OSError:
        return False
    return True


def quiet_loggers() -> None:
    """Route vLLM's log to this process's own handlers, at ``VLLM_LOGGING_LEVEL``."""
    for name in _QUIET_LOGGERS:
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.propagate = True
        logger.setLevel(os.environ["VLLM_LOGGING_LEVEL"])


def _defaults(options: VllmOptions) -> dict[str, str]:
    defaults = {
        "DO_NOT_TRACK": "1",
        "VLLM_NO_USAGE_STATS": "1",
        "VLLM_CACHE_ROOT": str(load_settings().home / "cache" / "vllm"),
        "VLLM_LOGGING_LEVEL": "ERROR",
        "VLLM_LOGGING_STREAM": "ext://sys.stderr",
        "VLLM_CPU_OMP_THREADS_BIND": "nobind",
        "OMP_NUM_THREADS": str(options.threads or _fair_threads(options.ranks_here)),
        "TOKENIZERS_PARALLELISM": "false",
        "TORCH_CPP_LOG_LEVEL": "ERROR",
        "TORCH_LOGS": "-all",
        "PYTHONWARNINGS": "ignore",
    }
    if options.folder is not None:
        defaults["HF_HUB_OFFLINE"] = "1"
    if _is_cpu_build():
        # Even in eager mode vLLM compiles a few functions, which takes half a minute and needs a
        # C++ compiler.
        defaults["TORCHDYNAMO_DISABLE"] = "1"
    return defaults


def _is_cpu_build() -> bool:
    """Whether the installed vLLM is built for the CPU, according to its package metadata."""
    versions = {d.name: d.version for d in metadata.distributions() if d.name.startswith("vllm")}
    return "vllm-cpu" in versions or "cpu" in versions.get("vllm", "")


def _fair_threads(ranks: int) -> int:
    """Half the cores divided among the ranks, because waiting threads spin and occupy a core."""
    return max(1, len(os.sched_getaffinity(0)) // (2 * ranks))


def runs_on_cpu() -> bool:
    """Whether the installed vLLM computes on the CPU.

    Raises:
        Misconfigured: vLLM is missing or cannot be loaded.
    """
    try:
        from vllm.platforms import current_platform
    except (ImportError, OSError) as error:
        raise Misconfigured(
            f"vLLM cannot be loaded ({error}); install it with scripts/setup, or "
            "promptmill[cpu] or promptmill[gpu] with pip, or use a server with --engine openai"
        ) from error
    return bool(current_platform.is_cpu())
