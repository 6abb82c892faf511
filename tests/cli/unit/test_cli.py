"""Every command explains itself, and every expected failure is one clear line and a code."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import typer

from promptmill.cli import main as cli
from promptmill.runtime.errors import (
    EngineDead,
    Fatal,
    Misconfigured,
    Poison,
    Stale,
    Transient,
    Unavailable,
)
from promptmill_schemas.documents import documents
from support.commands import Promptmill

COMMANDS = [
    "dead",
    "doctor",
    "down",
    "export",
    "gaps",
    "grade",
    "pending",
    "publish",
    "report",
    "requeue",
    "run",
    "sample",
    "schemas",
    "stats",
    "status",
    "tail",
    "topics",
    "up",
    "vacuum",
]
HEAVY = [
    "aiokafka",
    "deltalake",
    "numpy",
    "pyarrow",
    "pydantic",
    "redis",
    "rich",
    "torch",
    "uvloop",
    "vllm",
]
ROOT = Path(__file__).resolve().parents[3]


def test_the_list_of_commands_is_complete(promptmill: Promptmill) -> None:
    shown = promptmill("--help").out.partition("Commands:")[2]
    assert sorted(line.split()[0] for line in shown.splitlines() if line[2:3].isalpha()) == COMMANDS


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_examples_and_json(command: str, promptmill: Promptmill) -> None:
    shown = promptmill(command, "--help")
    assert shown.code == 0
    assert "Examples:" in shown.out
    assert f"promptmill {command}" in shown.out.partition("Examples:")[2]
    assert "--json" in shown.out


def test_the_command_line_loads_nothing_heavy() -> None:
    code = f"import sys, promptmill.cli.main; print([m for m in {HEAVY} if m in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == "[]"


def test_the_version_is_that_of_the_distribution(promptmill: Promptmill) -> None:
    assert promptmill("--version").out.startswith("promptmill 0.")


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (Fatal("x"), 1),
        (Poison("x"), 1),
        (Stale("x"), 1),
        (EngineDead("x"), 70),
        (Transient("x"), 75),
        (Unavailable("x"), 75),
        (Misconfigured("x"), 78),
    ],
)
def test_each_kind_of_error_has_its_exit_code(
    error: Exception, code: int, monkeypatch: pytest.MonkeyPatch, promptmill: Promptmill
) -> None:
    def fail() -> None:
        raise error

    monkeypatch.setattr(cli, "app", fail)
    done = promptmill()
    assert (done.code, done.out, done.err) == (code, "", "promptmill: x\n")


def test_an_unexpected_error_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(cli, "app", fail)
    with pytest.raises(ZeroDivisionError):
        cli.main()


def test_an_interrupted_command_ends_with_130(
    monkeypatch: pytest.MonkeyPatch, promptmill: Promptmill
) -> None:
    app = typer.Typer()

    @app.command()
    def wait() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "app", app)
    assert promptmill().code == 130


@pytest.mark.parametrize(
    "arguments",
    [
        ["publish", str(ROOT / "data" / "prompts.jsonl"), "--run", "r"],
        ["status", "--run", "r", "--json"],
        ["tail"],
    ],
    ids=lambda arguments: arguments[0],
)
def test_without_a_stack_the_remedy_is_named(arguments: list[str], promptmill: Promptmill) -> None:
    done = promptmill(*arguments)
    assert done.code == 78
    assert done.out == ""
    assert "promptmill up" in done.err
    assert "Traceback" not in done.err


def test_a_broker_that_does_not_answer_is_no_traceback(promptmill: Promptmill) -> None:
    done = promptmill(
        *("--kafka", "127.0.0.1:1", "--redis", "redis://127.0.0.1:1/0"), "status", "--run", "r"
    )
    assert done.code == 75
    assert done.out == ""
    assert "127.0.0.1:1" in done.err
    assert len(done.err.splitlines()) == 1


def test_a_broken_settings_file_is_named(promptmill: Promptmill, tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (home / "promptmill.toml").write_text("kafka = ")
    done = promptmill("tail")
    assert done.code == 78
    assert "settings file" in done.err


@pytest.mark.parametrize(
    ("arguments", "option"),
    [
        (["--run", "no spaces"], "--run"),
        (["--run", "r", "--n", "0"], "--n"),
        (["--run", "r", "--n", "10000"], "--n"),
        (["--run", "r", "--temperature", "3"], "--temperature"),
        (["--run", "r", "--temperature", "nan"], "--temperature"),
        (["--run", "r", "--top-p", "0"], "--top-p"),
        (["--run", "r", "--max-tokens", "0"], "--max-tokens"),
        (["--run", "r", "--stop", ""], "--stop"),
        (["--run", "r", "--seed", "-1"], "--seed"),
        (["--run", "r", "--tag", "novalue"], "--tag"),
        (["--run", "r", "--tag", "=x"], "--tag"),
        (["--run", "r", "--tag", f"k={'x' * 5000}"], "--tag"),
        ([], "--run"),
    ],
)
def test_a_wrong_option_is_named_with_its_limit(
    arguments: list[str], option: str, promptmill: Promptmill
) -> None:
    done = promptmill("publish", ROOT / "data" / "prompts.jsonl", *arguments)
    assert done.code == 2
    assert option in done.err


def test_a_file_that_does_not_exist_is_named(promptmill: Promptmill, tmp_path: Path) -> None:
    done = promptmill("publish", tmp_path / "nowhere.jsonl", "--run", "r")
    assert done.code == 2
    assert "nowhere.jsonl" in done.err


def test_receipts_never_overwrite_the_input(promptmill: Promptmill, tmp_path: Path) -> None:
    file = tmp_path / "in.jsonl"
    file.write_text("{}")
    done = promptmill("publish", file, "--run", "r", "--receipts", tmp_path / "." / "in.jsonl")
    assert (done.code, file.read_text()) == (2, "{}")
    assert "--receipts" in done.err


def test_down_without_a_stack_says_so(promptmill: Promptmill, tmp_path: Path) -> None:
    done = promptmill("down", "--json")
    home = str(tmp_path / "home")
    assert (done.code, done.json) == (0, {"stopped": [], "purged": False, "home": home})


def test_schemas_are_written_listed_and_checked(promptmill: Promptmill, tmp_path: Path) -> None:
    listed = promptmill("schemas").out.splitlines()
    assert listed == list(documents())
    assert promptmill("schemas", "--json").json.keys() == documents().keys()
    out = tmp_path / "docs"
    assert promptmill("schemas", "--out", out, "--json").json == {
        "written": [str(out / path) for path in documents()]
    }
    assert promptmill("schemas", "--out", out, "--check").code == 0
    (out / "asyncapi.json").write_text("{}")
    done = promptmill("schemas", "--out", out, "--check", "--json")
    assert (done.code, done.json["stale"]) == (1, [str(out / "asyncapi.json")])
    assert "promptmill schemas --out" in done.err


def test_schemas_that_cannot_be_written_are_an_error(
    promptmill: Promptmill, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    done = promptmill("schemas", "--out", tmp_path / "file")
    assert done.code == 78
    assert "--out" in done.err


def test_export_without_a_table_says_what_to_do(promptmill: Promptmill, tmp_path: Path) -> None:
    done = promptmill("export", "--out", tmp_path / "out.jsonl")
    assert done.code == 78
    assert "promptmill run store" in done.err
    assert not (tmp_path / "out.jsonl").exists()


def test_flags_before_the_command_win_over_the_environment(
    promptmill: Promptmill, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    assert promptmill("--home", other, "down", "--json").json["home"] == str(other)
