"""Where a machine has no libnuma, a stub that denies NUMA is loaded in its place."""

from __future__ import annotations

import ctypes
import os
import platform
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from promptmill.inference.vllm import environment

MACHINES = ("x86_64", "aarch64")
SOURCE = environment.LIBNUMA_STUBS / "libnuma.c"
VERSIONS = environment.LIBNUMA_STUBS / "libnuma.map"
FUNCTIONS = re.findall(r"^UNAVAILABLE\((\w+)\)$", SOURCE.read_text("utf-8"), re.MULTILINE)
HERE = environment.LIBNUMA_STUBS / platform.machine() / environment.LIBNUMA

only_where_built = pytest.mark.skipif(
    platform.machine() not in MACHINES, reason="there is no stub for this machine"
)
only_with_a_compiler = pytest.mark.skipif(
    not (shutil.which("cc") and shutil.which("nm")), reason="there is no C compiler"
)


@only_where_built
def test_every_function_of_the_stub_denies_numa() -> None:
    library = ctypes.CDLL(str(HERE))
    assert [getattr(library, name)() for name in FUNCTIONS] == [-1] * 8


@only_with_a_compiler
@pytest.mark.parametrize("machine", MACHINES)
def test_the_stub_has_the_symbols_and_versions_of_its_source(machine: str, tmp_path: Path) -> None:
    built = tmp_path / environment.LIBNUMA
    options = ("-shared", "-nostdlib", f"-Wl,--version-script={VERSIONS}")
    subprocess.run(["cc", *options, "-o", built, SOURCE], check=True)  # noqa: S607
    shipped = environment.LIBNUMA_STUBS / machine / environment.LIBNUMA
    assert functions(shipped) == functions(built)
    assert {name.partition("@")[0] for name in functions(shipped)} == set(FUNCTIONS)


def functions(library: Path) -> set[str]:
    """The names of a library's functions, each with the version of its symbol."""
    table = subprocess.run(
        ["nm", "--dynamic", "--with-symbol-versions", library],  # noqa: S607
        capture_output=True,
        text=True,
        check=True,
    )
    return set(re.findall(r" T (\S+)$", table.stdout, re.MULTILINE))


@only_where_built
def test_a_child_process_finds_it_by_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "libpromptmill-test.so.1"
    folder = tmp_path / platform.machine()
    folder.mkdir()
    shutil.copyfile(HERE, folder / name)
    monkeypatch.setattr(environment, "LIBNUMA", name)
    monkeypatch.setattr(environment, "LIBNUMA_STUBS", tmp_path)
    monkeypatch.setenv("LD_LIBRARY_PATH", "/nowhere")
    environment.provide_libnuma()
    program = f"import ctypes; print(ctypes.CDLL('{name}').numa_available())"
    assert os.environ["LD_LIBRARY_PATH"] == f"{folder}:/nowhere"
    child = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert child.stdout.strip() == "-1"


def test_a_library_that_is_there_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment, "LIBNUMA", "libc.so.6")
    monkeypatch.setenv("LD_LIBRARY_PATH", "/nowhere")
    environment.provide_libnuma()
    assert os.environ["LD_LIBRARY_PATH"] == "/nowhere"
