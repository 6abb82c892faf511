"""``promptmill grade``: measure a grader on labelled pairs or on rated answers."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

HELP = """Measure a grader: run a reward model on labelled answers and compare its scores.

The format rewardbench has pairs (prompt, chosen, rejected, subset). The output is the accuracy by
subset and section, and the leaderboard's score. The format helpsteer2 has rows (prompt, response,
five scores). The output is the error and correlation of each attribute, and the straight line that
would calibrate it. Other flags of `promptmill run reward` can be given after --.

Examples:

\b
  promptmill grade pairs.jsonl --format rewardbench --model ~/models/reward
  promptmill grade rated.jsonl --format helpsteer2 --model ~/models/reward --json
  promptmill grade pairs.jsonl --format rewardbench --engine openai --base-url http://localhost:8000
  promptmill grade rated.jsonl --format helpsteer2 --model ~/models/reward -- --score-range=-30,10
"""


class Format(StrEnum):
    """Format of the file."""

    REWARDBENCH = "rewardbench"
    HELPSTEER2 = "helpsteer2"


def grade(
    file: Annotated[
        Path,
        typer.Argument(
            exists=True, dir_okay=False, help="File with one JSON object per line.", metavar="FILE"
        ),
    ],
    form: Annotated[Format, typer.Option("--format", help="Format of the file.")],
    flags: Annotated[
        list[str] | None,
        typer.Argument(help="Other flags of `promptmill run reward`.", metavar="FLAGS"),
    ] = None,
    engine: Annotated[
        str | None, typer.Option(help="Engine that runs the model: vllm, openai or scripted.")
    ] = None,
    model: Annotated[str | None, typer.Option(help="Reward model: a folder or a name.")] = None,
    base_url: Annotated[
        str | None, typer.Option(help="Address of an OpenAI-compatible server.")
    ] = None,
    tensor_parallel: Annotated[int | None, typer.Option(min=1, help="Number of ranks.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    from promptmill.cli.grading.grader import read_grader
    from promptmill.cli.grading.run import grade_pairs, grade_rated
    from promptmill.cli.grading.tables import helpsteer2_table, rewardbench_table, tell
    from promptmill.cli.output import print_bytes, print_json, quiet_logs

    quiet_logs()
    named = {
        "engine": engine,
        "model": model,
        "base-url": base_url,
        "tensor-parallel": tensor_parallel,
    }
    given = [f"--{name}={value}" for name, value in named.items() if value is not None]
    grader = read_grader([*given, *(flags or ())])
    pairs = form is Format.REWARDBENCH
    figures = (grade_pairs if pairs else grade_rated)(file, grader, tell)
    if as_json:
        print_json(figures)
        return
    table = rewardbench_table if pairs else helpsteer2_table
    print_bytes(table(figures).encode())
