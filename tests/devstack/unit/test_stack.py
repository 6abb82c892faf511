"""What the stack refuses or leaves alone before any server is started."""

from __future__ import annotations

from pathlib import Path

import pytest

from promptmill.devstack.broker import Broker
from promptmill.devstack.kafka import new_cluster_id
from promptmill.devstack.stack import attach, down, find, up
from promptmill.devstack.state import StackState, state_file, write_state
from promptmill.runtime.errors import Misconfigured


@pytest.mark.parametrize("brokers", [0, 2, 4, -1])
def test_a_stack_has_one_broker_or_three(brokers: int, tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match=f"brokers is {brokers}; the local stack runs 1 or 3"):
        up(tmp_path, brokers)


@pytest.mark.parametrize("name", ["a,b", "100%", "cash$"])
def test_a_home_that_kafka_cannot_name_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match="PROMPTMILL_HOME"):
        up(tmp_path / name)
    assert not (tmp_path / name).exists()


def test_another_number_of_brokers_than_the_data_have_is_refused(tmp_path: Path) -> None:
    (tmp_path / "kafka" / "broker-1").mkdir(parents=True)
    with pytest.raises(Misconfigured, match=r"has a stack of 1 broker.*down --purge"):
        up(tmp_path, brokers=3)


def test_a_home_that_is_a_file_is_refused(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.write_text("in the way")
    with pytest.raises(Misconfigured, match=r"cannot use the home folder .*home"):
        up(home)


def test_down_leaves_a_folder_alone_that_is_no_home(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    stopped = down(tmp_path, purge=True)
    assert stopped.servers == ()
    assert [file.name for file in tmp_path.iterdir()] == ["thesis.tex"]
    assert down(tmp_path / "nowhere").servers == ()
    assert not (tmp_path / "nowhere").exists()


def test_purging_spares_what_the_servers_did_not_write(tmp_path: Path) -> None:
    (tmp_path / "kafka" / "broker-1" / "data").mkdir(parents=True)
    (tmp_path / "store").mkdir()
    (tmp_path / "logs").mkdir()
    for log in ("kafka-1.log", "kafka-1.out.1", "redis.log", "filter-1.log"):
        (tmp_path / "logs" / log).touch()
    down(tmp_path, purge=True)
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["filter-1.log", "logs", "store"]


def test_down_works_on_a_damaged_state(tmp_path: Path) -> None:
    state_file(tmp_path).write_text("{")
    down(tmp_path)
    assert not state_file(tmp_path).exists()


def test_a_stack_of_which_nothing_runs_is_not_found(tmp_path: Path) -> None:
    assert find(tmp_path) is None
    assert attach(tmp_path) is None
    write_state(tmp_path, StackState(brokers=(Broker(1, 21_000, 21_001),), redis_port=21_002))
    assert find(tmp_path) is None
    assert attach(tmp_path) is not None


def test_cluster_ids_are_as_kafka_makes_them() -> None:
    ids = {new_cluster_id() for _ in range(300)}
    assert len(ids) == 300
    assert {len(text) for text in ids} == {22}
    assert not any(text.startswith("-") for text in ids)
