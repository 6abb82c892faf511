from __future__ import annotations

import fcntl
from pathlib import Path
from threading import Thread

import pytest

from promptmill.devstack.broker import Broker
from promptmill.devstack.state import StackState, exclusive, read_state, state_file, write_state
from promptmill.runtime.errors import Fatal, Misconfigured

STATE = StackState(brokers=(Broker(1, 21_000, 21_001),), redis_port=22_000)


def test_a_written_state_is_read_back(tmp_path: Path) -> None:
    write_state(tmp_path, STATE)
    assert read_state(tmp_path) == STATE
    assert [file.name for file in tmp_path.iterdir()] == ["stack.json"]


def test_no_file_means_no_stack(tmp_path: Path) -> None:
    assert read_state(tmp_path) is None
    assert read_state(tmp_path / "nowhere") is None


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "[]",
        '{"version": 2, "brokers": [], "redis_port": 1}',
        '{"version": 1, "brokers": [], "redis_port": 1}',
    ],
)
def test_a_damaged_state_is_refused_with_a_remedy(content: str, tmp_path: Path) -> None:
    state_file(tmp_path).write_text(content)
    with pytest.raises(Misconfigured, match=r"stack\.json is damaged.*promptmill down"):
        read_state(tmp_path)


def test_a_second_holder_waits_and_gives_up_with_the_files_name(tmp_path: Path) -> None:
    with (
        exclusive(tmp_path),
        pytest.raises(Fatal, match=r"lsof .*stack\.lock"),
        exclusive(tmp_path, timeout_s=0.2),
    ):
        pytest.fail("two holders at once")
    with exclusive(tmp_path, timeout_s=0):
        pass


def test_holders_take_turns_even_if_each_deletes_the_file(tmp_path: Path) -> None:
    inside, most = 0, 0

    def hold() -> None:
        nonlocal inside, most
        for _ in range(20):
            with exclusive(tmp_path) as file:
                inside += 1
                for _ in range(20):  # each call lets the other threads run
                    (tmp_path / "elsewhere").write_bytes(b"")
                    most = max(most, inside)
                inside -= 1
                file.unlink()

    threads = [Thread(target=hold) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == 1


def test_a_lock_on_a_file_that_was_deleted_meanwhile_does_not_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flock = fcntl.flock
    deleted: list[int] = []

    def delete_first(descriptor: int, operation: int) -> None:
        if not deleted:
            (tmp_path / "stack.lock").unlink()
            deleted.append(descriptor)
        flock(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", delete_first)
    with (
        exclusive(tmp_path),
        pytest.raises(Fatal, match="another process"),
        exclusive(tmp_path, timeout_s=0.2),
    ):
        pytest.fail("two holders at once")
