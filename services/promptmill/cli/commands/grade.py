"""``promptmill grade``: measure a grader on labelled pairs or on rated answers."""

from __future__ import annotations

from typing import Annotated

import typer

from promptmill.cli.grading.formats import LabelledFormat

HELP = """Measure a grader: run a reward model on labelled answers and compare its scores.

Pairs have the columns of RewardBench, RewardBench 2 (several rejected answers), UltraFeedback
(conversations) or HelpSteer3 (two responses and a preference). The output is the accuracy by subset
and section, and the leaderboard's score. HelpSteer2 has rated answers (prompt, response, five
scores). The output is the error and correlation of each attribute, and the straight line that would
calibrate it. Other flags of `promptmill run reward` can be given after --.

A row that cannot be read or graded is reported with its number, and the run continues. The exit
code is then 3.

Examples:

\b
  promptmill grade pairs.jsonl --model ~/models/reward
  promptmill grade rated.jsonl --format helpsteer2 --model ~/models/reward --json
  promptmill grade pairs.jsonl --format rewardbench --engine openai --base-url http://localhost:8000
  promptmill grade rated.jsonl --format helpsteer2 --model ~/models/reward -- --score-range=-30,10
"""


def grade(
    file: Annotated[
        str,
        typer.Argument(help="File or folder, - for standard input, or hf://datasets/OWNER/NAME."),
    ],
    flags: Annotated[
        list[str] | None,
        typer.Argument(help="Other flags of `promptmill run reward`.", metavar="FLAGS"),
    ] = None,
    form: Annotated[
        LabelledFormat,
        typer.Option("--format", help="Format of the file; auto looks at its columns."),
    ] = LabelledFormat.AUTO,
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
    from promptmill.cli.grading.labelled import read_labelled
    from promptmill.cli.grading.run import evaluate, exit_code_of
    from promptmill.cli.grading.tables import figures_table, show_failures, tell
    from promptmill.cli.output import print_bytes, print_json, quiet_logs
    from promptmill.cli.publish.options import require_input

    require_input(file)
    quiet_logs()
    named = {
        "engine": engine,
        "model": model,
        "base-url": base_url,
        "tensor-parallel": tensor_parallel,
    }
    given = [f"--{name}={value}" for name, value in named.items() if value is not None]
    grader = read_grader([*given, *(flags or ())])
    figures = evaluate(read_labelled(file, form), grader, tell)
    show_failures(figures)
    if as_json:
        print_json(figures)
    else:
        print_bytes(figures_table(figures).encode())
    raise typer.Exit(exit_code_of(figures))
