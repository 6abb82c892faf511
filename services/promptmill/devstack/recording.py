"""A recording of the classes that a broker loads, which later starts map instead of loading.

It saves more than half of a start's processor time, which counts when three brokers and a model
share two cores. The first broker that runs without one records (JEP 514, Java 25) and writes it
when it is stopped by SIGTERM, which takes some seconds more that once. A virtual machine that
cannot use a recording (another build, other jars) ignores it.
"""

from __future__ import annotations

import hashlib
import platform
import shutil
from collections.abc import Sequence
from pathlib import Path

from promptmill.devstack import java

RECORDER = 1  # the node that records; one is enough

_OUTPUT_OPTION = "-XX:AOTCacheOutput"
_COMPLETE = "AOTCache creation is complete"
_QUIET = ("-Xlog:disable", "-Xlog:all=error:stderr")  # what it cannot map is no news
_SUFFIX = ".aot"


def arguments_file(folder: Path) -> Path:
    """A broker's ``java @file`` with the options that use or make the recording."""
    return folder / "recording.args"


def write_arguments(folder: Path, node: int, classpath: Sequence[Path], cache: Path) -> None:
    """Lets a broker use the recording in the cache folder, or make it if it is absent."""
    kept = cache / _name(classpath)
    if kept.exists():
        options = [f"-XX:AOTCache={kept}"]
    elif node == RECORDER:
        options = [f"{_OUTPUT_OPTION}={folder / kept.name}"]
    else:
        options = []
    java.write_arguments(arguments_file(folder), [*_QUIET, *options])


def is_pending(folder: Path) -> bool:
    """Whether the broker records, if it runs, and must be stopped in peace to keep it."""
    file = arguments_file(folder)
    return file.exists() and _OUTPUT_OPTION in file.read_text("utf-8")


def collect(folder: Path, output: Path, cache: Path) -> None:
    """Moves what a stopped broker recorded into the cache folder, for all later starts.

    Args:
        folder: the broker's.
        output: what the broker printed; half a recording must not be kept.
        cache: where the jars are.
    """
    for recorded in folder.glob(f"*{_SUFFIX}*"):
        if recorded.suffix == _SUFFIX and _is_complete(output) and cache.is_dir():
            _keep(recorded, cache)
            java.write_arguments(
                arguments_file(folder), [*_QUIET, f"-XX:AOTCache={cache / recorded.name}"]
            )
        else:
            recorded.unlink()


def _keep(recorded: Path, cache: Path) -> None:
    outdated = set(cache.glob(f"*{_SUFFIX}"))
    draft = cache / f"{recorded.name}.tmp"
    shutil.move(recorded, draft)  # perhaps from another disk; then the rename is atomic
    draft.replace(cache / recorded.name)
    for old in outdated - {cache / recorded.name}:
        old.unlink(missing_ok=True)


def _is_complete(output: Path) -> bool:
    return output.exists() and _COMPLETE in output.read_text("utf-8", "replace")


def _name(classpath: Sequence[Path]) -> str:
    """Different for each Java, its flags and the jars: they must be those of the recording."""
    states = [(str(jar), jar.stat().st_size, jar.stat().st_mtime_ns) for jar in classpath]
    key = repr((java.version(), platform.machine(), java.FLAGS, states))
    return f"broker-{hashlib.sha256(key.encode()).hexdigest()[:16]}{_SUFFIX}"
