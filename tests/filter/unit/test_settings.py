"""Flags, environment and file become one policy, or an error that names the setting."""

from __future__ import annotations

from pathlib import Path

import pytest

from promptmill.filter.policy import MEASURES, Bounds, Policy
from promptmill.filter.settings import EXAMPLES, FilterSettings
from promptmill.runtime.errors import Misconfigured
from promptmill.stream.stage_settings import parse_settings


@pytest.fixture(autouse=True)
def empty_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PROMPTMILL_HOME", str(tmp_path))
    monkeypatch.delenv("PROMPTMILL_CONFIG", raising=False)
    return tmp_path


def settings(*argv: str) -> FilterSettings:
    return parse_settings(FilterSettings, argv, EXAMPLES)


def test_without_settings_the_policy_is_the_default() -> None:
    assert settings().policy == Policy()
    assert settings().policy.version == Policy().version


def test_every_measure_has_a_least_and_a_greatest_value() -> None:
    flags = [
        flag
        for measure in MEASURES
        for flag in (f"--min-{measure}", "0.5", f"--max-{measure}", "1.5")
    ]
    assert settings(*flags).policy.limits == dict.fromkeys(MEASURES, Bounds(min=0.5, max=1.5))


@pytest.mark.parametrize("off", ["none", "None", ""])
def test_none_switches_a_limit_off(off: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert settings("--min-helpfulness", "none").policy.limits == {}
    monkeypatch.setenv("PROMPTMILL_FILTER_MIN_HELPFULNESS", off)
    assert settings().policy.limits == {}


def test_a_flag_wins_over_the_environment_and_this_over_the_file(
    empty_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (empty_home / "promptmill.toml").write_text(
        'slots = 7\n[filter]\nmode = "all"\nmin_reward = 1.0\nmax_reward = 9.0\n'
    )
    monkeypatch.setenv("PROMPTMILL_FILTER_MIN_REWARD", "2.0")
    assert settings().policy.limits["reward"] == Bounds(min=2.0, max=9.0)
    assert settings("--min-reward", "3").policy.limits["reward"] == Bounds(min=3.0, max=9.0)
    assert settings().policy.mode == "all"
    assert settings().slots == 7


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--min-reward", "3", "--max-reward", "2"], r"min_reward is 3.0: at most max_reward"),
        (["--min-helpfulness", "nan"], "min_helpfulness.*finite"),
        (["--min-helpfulness", "high"], "min_helpfulness is 'high'"),
        (["--mode", "top-k"], "top_k is None: it is required in mode top-k"),
        (["--mode", "best", "--top-k", "2"], "top_k is 2: it has no effect"),
        (["--min-margin", "1"], "min_margin is 1.0: it has no effect in mode best"),
        (["--duplicate-similarity", "0.3"], "duplicate_similarity is 0.3"),
        (["--policy-name", "two words"], "policy_name is 'two words'"),
        (["--mode", "worst"], "mode"),
        (["--expected-records", "0"], "expected_records"),
    ],
)
def test_a_contradiction_ends_the_start(argv: list[str], message: str) -> None:
    with pytest.raises(Misconfigured, match=message):
        settings(*argv)


def test_the_examples_of_the_help_hold(capsys: pytest.CaptureFixture[str]) -> None:
    for line in EXAMPLES.splitlines()[1:]:
        settings(*line.split()[3:])
    with pytest.raises(SystemExit):
        settings("--help")
    assert "--min-helpfulness" in capsys.readouterr().out
