"""Settings of a worker: flags, its own environment, the shared one, the file, in that order."""

from __future__ import annotations

from pathlib import Path

import pytest

from promptmill.instruct.settings import EXAMPLES, InstructSettings
from promptmill.reward.settings import RewardSettings
from promptmill.runtime.errors import Misconfigured
from promptmill.stream.stage_settings import parse_settings


def parsed(*argv: str) -> InstructSettings:
    return parse_settings(InstructSettings, argv, EXAMPLES)


@pytest.fixture(autouse=True)
def _home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PROMPTMILL_HOME", str(tmp_path))


def test_flags_then_the_stages_environment_then_the_shared_one_then_the_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "promptmill.toml"
    file.write_text("slots = 1\nkafka = 'file:1'\n[instruct]\nslots = 2\n[reward]\nslots = 9\n")
    assert (parsed().slots, parsed().kafka) == (2, "file:1")
    monkeypatch.setenv("PROMPTMILL_SLOTS", "3")
    assert parsed().slots == 3
    monkeypatch.setenv("PROMPTMILL_INSTRUCT_SLOTS", "4")
    assert parsed().slots == 4
    assert parsed("--slots", "5").slots == 5
    assert parse_settings(RewardSettings, (), "").slots == 3


@pytest.mark.parametrize(
    ("argv", "told"),
    [(("--slots", "-1"), "slots"), (("--port", "70000"), "port"), (("--grace-s", "x"), "grace_s")],
)
def test_a_wrong_value_is_named(argv: tuple[str, ...], told: str) -> None:
    with pytest.raises(Misconfigured, match=told):
        parsed(*argv)


def test_a_file_that_is_no_toml_is_named(tmp_path: Path) -> None:
    (tmp_path / "promptmill.toml").write_text("slots = = 1")
    with pytest.raises(Misconfigured, match=r"promptmill\.toml is not TOML"):
        parsed()


def test_what_is_needed_and_missing_names_its_remedy() -> None:
    with pytest.raises(Misconfigured, match="PROMPTMILL_KAFKA"):
        parsed().require_kafka()
    with pytest.raises(Misconfigured, match="PROMPTMILL_REDIS"):
        parsed().require_redis()


def test_help_shows_the_flags_and_examples(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        parsed("--help")
    assert end.value.code == 0
    shown = capsys.readouterr().out
    assert "--tensor-parallel" in shown
    assert "promptmill run instruct --engine scripted" in shown


def test_the_address_of_redis_is_not_shown() -> None:
    settings = parsed("--redis", "redis://user:secret@host:1/0")
    assert "secret" not in repr(settings)
