"""Formatting one row of a sample for a terminal, with answers side by side."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from rich.console import Console, Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from promptmill.lake.tables.optional import turns_of
from promptmill.runtime.terminal import printable

SHOWN_CHARS: Final = 1_200
"""The number of characters to show of each text, unless it is shown in full."""

NARROW: Final = 36
"""The columns that each answer needs beside another; in less space, answers are stacked."""


def show(console: Console, row: Mapping[str, Any], heading: str, *, full: bool) -> None:
    """Print one record, pair or reject.

    Args:
        console: the console to print to.
        row: a row of the table ``records`` or ``rejects``.
        heading: the number of this row and of all rows.
        full: whether to show long texts in full.
    """
    limit = None if full else SHOWN_CHARS
    console.rule(_plain(f"{heading}  {_title(row)}"), align="left")
    for line in _facts(row):
        console.print(_plain(line))
    console.print(Group(*(_turn(turn, limit) for turn in _asked(row))))
    console.print(_beside(console, [_answer(*each, limit) for each in _answers(row)]))


def _title(row: Mapping[str, Any]) -> str:
    what = row.get("kind") or f"rejected: {row['reason']}"
    return f"{what}  run {row['run']}  prompt {row['prompt_id']}"


def _facts(row: Mapping[str, Any]) -> Iterator[str]:
    model = row["generated_by"]["model"]
    yield f"{row['created_at']:%Y-%m-%d %H:%M:%S}  model {model}  policy {row['policy_version']}"
    if "detail" in row:
        yield row["detail"]
    elif row["margin"] is not None:
        yield f"margin {row['margin']:.2f}"


def _asked(row: Mapping[str, Any]) -> Sequence[dict[str, Any]]:
    """Return the turns before the answer; the last turn of an SFT record is the answer."""
    turns = turns_of(row)
    return turns[:-1] if row.get("kind") == "sft" else turns


def _answers(row: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """Yield the title, the text and the grades of each answer."""
    if "candidates" in row:
        for answer in row["candidates"] or ():
            failed = ", ".join(check["name"] for check in answer["checks"] or ())
            title = f"answer {answer['index']} failed {failed}"
            yield title, answer["text"], _grades(answer["scores"], answer["reward"])
        return
    title = "answer" if row["rejected"] is None else "chosen"
    yield title, row["chosen"], _grades(row["scores"], row["reward"])
    if row["rejected"] is not None:
        grades = _grades(row["rejected_scores"], row["rejected_reward"])
        yield "rejected", row["rejected"], grades


def _grades(scores: Mapping[str, float] | None, reward: float | None) -> str:
    named = [f"{name} {value:.2f}" for name, value in (scores or {}).items()]
    return ", ".join([*([] if reward is None else [f"reward {reward:.2f}"]), *named])


def _turn(turn: Mapping[str, Any], limit: int | None) -> RenderableType:
    further = {name: value for name, value in turn.items() if value and name not in _PLAIN}
    parts = [turn.get("content") or "", *(f"{name}: {value}" for name, value in further.items())]
    return _panel(str(turn["role"]), "\n".join(filter(None, parts)), "", limit)


_PLAIN: Final = ("role", "content")


def _answer(title: str, text: str, grades: str, limit: int | None) -> RenderableType:
    return _panel(title, text, grades, limit)


def _panel(title: str, text: str, note: str, limit: int | None) -> Panel:
    content = _plain(_cut(text, limit), lines=True)
    body: RenderableType = content if not note else Group(content, Text(""), _plain(note, dim=True))
    return Panel(body, title=_plain(title), title_align="left")


def _beside(console: Console, answers: Sequence[RenderableType]) -> RenderableType:
    """Arrange the answers side by side in as many columns as fit, and the rest below."""
    columns = max(1, min(len(answers), console.width // NARROW))
    grid = Table.grid(expand=True)
    for _ in range(columns):
        grid.add_column(ratio=1)
    for first in range(0, len(answers), columns):
        grid.add_row(*answers[first : first + columns])
    return grid


def _cut(text: str, limit: int | None) -> str:
    if limit is None or len(text) <= limit:
        return text
    return f"{text[:limit]}… ({len(text) - limit:,} more characters; --full shows them)"


def _plain(text: str, *, lines: bool = False, dim: bool = False) -> Text:
    return Text(printable(text, lines=lines), style="dim" if dim else "")
