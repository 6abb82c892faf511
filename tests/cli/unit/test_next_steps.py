"""What the demo suggests at its end is what the README shows."""

from __future__ import annotations

from pathlib import Path

from check_readme import commands
from promptmill_demo.screen import next_steps

MODELS = Path("models/demo-instruct"), Path("models/demo-reward")


def test_the_next_steps_of_the_demo_are_the_quickstart_of_the_readme() -> None:
    steps = [line.strip() for line in next_steps(Path("/home/me"), *MODELS).splitlines()]
    _title, environment, *pasted = steps
    assert environment == 'export PATH="$PWD/.venv/bin:$PATH" PROMPTMILL_HOME=/home/me'
    assert pasted == [line for line in commands("sh") if not line.startswith("export ")]


def test_paths_with_spaces_can_be_pasted() -> None:
    text = next_steps(Path("/a home"), Path("/a model"), Path("/b"))
    assert "PROMPTMILL_HOME='/a home'" in text
    assert "--model '/a model' --reward-model /b" in text
    assert "…" not in text
