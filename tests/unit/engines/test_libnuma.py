"""Where a machine has no libnuma, a stand-in that denies NUMA is loaded in its place."""

from __future__ import annotations

import ctypes
import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

from promptmill.inference.vllm import libnuma

only_where_written_for = pytest.mark.skipif(
    platform.machine() not in {"x86_64", "aarch64"}, reason="no stand-in for this machine"
)


@only_where_written_for
def test_every_function_of_the_stand_in_denies_numa(tmp_path: Path) -> None:
    path = tmp_path / "stand-in.so"
    path.write_bytes(libnuma.stand_in(platform.machine()))
    library = ctypes.CDLL(str(path))
    assert [getattr(library, name)() for name in libnuma.FUNCTIONS] == [-1] * 8


@only_where_written_for
def test_a_child_process_finds_it_by_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(libnuma, "SONAME", "libpromptmill-test.so.1")
    monkeypatch.setenv("LD_LIBRARY_PATH", "/nowhere")
    libnuma.provide_libnuma(tmp_path)
    program = f"import ctypes; print(ctypes.CDLL('{libnuma.SONAME}').numa_available())"
    assert os.environ["LD_LIBRARY_PATH"] == f"{tmp_path}:/nowhere"
    child = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert child.stdout.strip() == "-1"


def test_a_library_that_is_there_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(libnuma, "SONAME", "libc.so.6")
    libnuma.provide_libnuma(tmp_path / "unused")
    assert not (tmp_path / "unused").exists()
