from __future__ import annotations

import os
from pathlib import Path

import pytest

from promptmill.devstack import recording

COMPLETE = "AOTCache creation is complete: somewhere 66641920 bytes\n"


class Rig:
    """A broker's folder, its output, the jars and the cache."""

    def __init__(self, root: Path) -> None:
        self.folder, self.cache, self.output = root / "broker-1", root / "cache", root / "out"
        self.folder.mkdir()
        self.cache.mkdir()
        self.jar = self.cache / "kafka.jar"
        self.jar.write_bytes(b"jar")

    def options(self, node: int = 1) -> str:
        recording.write_arguments(self.folder, node, [self.jar], self.cache)
        return recording.arguments_file(self.folder).read_text()

    def record(self, said: str) -> None:
        """What a broker leaves that was told to record."""
        target = self.options().split("-XX:AOTCacheOutput=")[1].split('"')[0]
        Path(target).write_bytes(b"recorded")
        self.output.write_text(said)
        recording.collect(self.folder, self.output, self.cache)

    def kept(self) -> list[Path]:
        return list(self.cache.glob("*.aot*"))


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    return Rig(tmp_path)


def test_only_the_first_node_records(rig: Rig) -> None:
    assert "AOTCacheOutput" in rig.options(node=1)
    assert "AOT" not in rig.options(node=2)


def test_a_complete_recording_is_kept_and_used_by_every_node(rig: Rig) -> None:
    rig.record(COMPLETE)
    (kept,) = rig.kept()
    assert f"-XX:AOTCache={kept}" in rig.options(node=1)
    assert f"-XX:AOTCache={kept}" in rig.options(node=2)


def test_the_broker_that_recorded_uses_it_at_its_next_start(rig: Rig) -> None:
    rig.record(COMPLETE)
    assert "-XX:AOTCache=" in recording.arguments_file(rig.folder).read_text()


def test_a_recording_is_pending_until_it_is_collected(rig: Rig) -> None:
    assert not recording.is_pending(rig.folder)
    rig.options()
    assert recording.is_pending(rig.folder)
    rig.record(COMPLETE)
    assert not recording.is_pending(rig.folder)


def test_half_a_recording_is_deleted(rig: Rig) -> None:
    rig.record("the broker was killed while it wrote\n")
    assert rig.kept() == []
    assert list(rig.folder.glob("*.aot*")) == []
    assert "AOTCacheOutput" in rig.options()


def test_other_jars_need_a_new_recording_which_replaces_the_old(rig: Rig) -> None:
    rig.record(COMPLETE)
    (old,) = rig.kept()
    os.utime(rig.jar, ns=(0, 0))
    rig.record(COMPLETE)
    (new,) = rig.kept()
    assert new != old
