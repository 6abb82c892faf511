"""The output of the demo: progress lines, the summary and the next steps."""

from __future__ import annotations

import shlex
import sys
import textwrap
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from promptmill.cli.run_status import RunStatus
from promptmill_demo.report import Outcome, histogram

WIDTH = 96
QUESTION = '{"prompt": "What is the capital of Italy?"}'
"""A prompt that the demo's generator can answer and that is not among the demo's own."""


class Screen:
    """Progress lines on standard error; results and ``--json`` go to standard output."""

    def __init__(self) -> None:
        self._begin = time.monotonic()
        self._last = ""

    def say(self, text: str) -> None:
        """Print a line with the seconds since the start."""
        sys.stderr.write(f"[{time.monotonic() - self._begin:5.0f} s] {text}\n")
        sys.stderr.flush()

    def worker(self, event: str, worker: str, fields: dict[str, object]) -> None:
        """Print a report of the supervisor."""
        details = ", ".join(f"{name} {value}" for name, value in fields.items())
        self.say(f"{event.replace('_', ' ')}: {worker} ({details})")

    def progress(self, status: RunStatus) -> None:
        """Print the run counts if they have changed."""
        settled = status.published - status.pending
        line = (
            f"{settled:,} of {status.published:,} prompts settled: {status.accepted:,} accepted, "
            f"{status.rejected:,} rejected, {status.dead:,} dead"
        )
        if line != self._last:
            self._last = line
            self.say(line)

    def record(self, question: str, answer: str, reward: float) -> None:
        """Print a record that has been stored."""
        ask, reply = _short(question, 40), _short(answer, 44)
        self.say(f"  record  reward {reward:5.2f}  {ask!r} -> {reply!r}")


def _short(text: str, width: int) -> str:
    return textwrap.shorten(text, width, placeholder="…") or text[:width]


def summary(outcome: Outcome, store: str, *, trained: bool) -> str:
    """Return the summary at the end of the demo.

    Args:
        outcome: the result.
        store: URI of the store.
        trained: whether the models are trained.
    """
    report, seconds = outcome.report, outcome.seconds
    settled = (
        f"Run {report.run}: {report.settled:,} prompts settled; {report.accepted:,} accepted, "
        f"{report.rejected:,} rejected, {report.dead:,} dead."
    )
    speed = (
        f", {report.tokens / seconds:,.0f} tokens/s."
        if seconds
        else " (in an earlier run of the demo)."
    )
    answered = f"{report.answers:,} answers with {report.tokens:,} tokens were generated and graded"
    lines = [
        "",
        settled,
        answered + speed,
        "",
        "Prompts that were not accepted, by reason:",
        *(f"  {count:5,}  {reason}" for reason, count in report.reasons.most_common()),
        "",
        "Rewards of all answers (# accepted, . not accepted):",
        *histogram(report.rewards, report.accepted_rewards),
        "",
        *accuracy_lines(outcome.accuracy),
        "Three of the records:",
        *(_sample(*sample) for sample in report.samples),
        "",
        f"The training store is {store} (Delta tables: records, rejects, dead_letters, prompts).",
    ]
    if not trained:
        lines.append(
            "The demo's models are small and untrained: real architectures in the real pipeline, "
            "but the answers are random words and the grades mean nothing."
        )
    return "\n".join([*lines, ""])


def accuracy_lines(accuracy: Mapping[str, Any]) -> list[str]:
    """Return the table of accuracies; empty if the prompts have no ground truth."""
    if not accuracy["answers"] or accuracy["accuracy_accepted"] is None:
        return []
    head = f"  {'':12} {'all answers':>12} {'accepted':>10} {'gain':>8} {'kept':>6}"
    rows = [("all prompts", accuracy), *accuracy["by_family"].items()]
    return [
        "Correct answers (a program can check the demo's tasks):",
        head,
        *(_accuracy_row(name, figures) for name, figures in rows),
        "",
    ]


def _accuracy_row(name: str, figures: Mapping[str, Any]) -> str:
    before, after = figures["accuracy_all"], figures["accuracy_accepted"]
    if before is None or after is None:
        return f"  {name:12} {'-':>12}"
    gain = f"{100 * (after - before):+.0f} pts"
    return f"  {name:12} {before:12.0%} {after:10.0%} {gain:>8} {figures['kept']:6.0%}"


def _sample(question: str, answer: str, reward: float) -> str:
    wrap = textwrap.TextWrapper(WIDTH, initial_indent="  ", subsequent_indent="      ")
    text = f"reward {reward:.2f}: {_short(question, 120)} -> {_short(answer, 200)}"
    return "\n".join(wrap.wrap(text))


def next_steps(home: Path, instruct: Path, reward: Path) -> str:
    """Return commands that can be pasted to get a first record from the user's own prompt."""
    models = f"--model {shlex.quote(str(instruct))} --reward-model {shlex.quote(str(reward))}"
    return "\n  ".join(
        [
            "What to try next, in the folder of the clone:",
            f'export PATH="$PWD/.venv/bin:$PATH" PROMPTMILL_HOME={shlex.quote(str(home))}',
            "promptmill up",
            f"promptmill run --all {models} > workers.log 2>&1 &",
            f"echo '{QUESTION}' | promptmill publish - --run mine --n 8",
            "promptmill status --run mine --wait 300",
            "promptmill tail --run mine",
            "promptmill export --run mine --format jsonl --out mine.jsonl",
            "kill $!; wait $!",
            "promptmill down",
        ]
    )
