"""What commands print: results on standard output, everything else on standard error."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.progress import Progress as Bar

    from promptmill.devstack.jars import OnProgress, Progress


@contextmanager
def stack_progress() -> Iterator[OnProgress]:
    """Tells how far the local stack is: bars on a terminal, one line a step elsewhere."""
    if is_watched():
        with _bar("{task.percentage:>3.0f} %") as bar:
            yield _on_bar(bar)
    else:
        yield _as_lines()


@contextmanager
def line_progress(total_bytes: int | None) -> Iterator[Callable[[int, str], None]]:
    """Tells how far a file is read: called with the bytes read so far and a text."""
    if not is_watched():
        yield lambda _done, _text: None
        return
    with _bar("{task.fields[text]}") as bar:
        task = bar.add_task("publishing", total=total_bytes, text="")
        yield lambda done, text: bar.update(task, completed=done, text=text)


@contextmanager
def _bar(last_column: str) -> Iterator[Bar]:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=24),
        TextColumn(last_column, markup=False),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        yield bar


def _on_bar(bar: Bar) -> OnProgress:
    tasks = {}

    def show(progress: Progress) -> None:
        if progress.step not in tasks:
            tasks[progress.step] = bar.add_task(progress.step, total=progress.total)
        bar.update(tasks[progress.step], completed=progress.done, total=progress.total)

    return show


def _as_lines() -> OnProgress:
    seen: set[str] = set()

    def show(progress: Progress) -> None:
        if progress.step not in seen:
            seen.add(progress.step)
            note(f"{progress.step} …")

    return show


LIBRARIES = ("aiokafka", "asyncio", "faststream")


def quiet_logs() -> None:
    """Log nothing below critical, and never to standard output."""
    import structlog

    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    for name in LIBRARIES:
        logging.getLogger(name).setLevel(logging.CRITICAL)


def print_json(value: Any) -> None:
    """One JSON document on a line of its own."""
    import orjson

    print_bytes(orjson.dumps(value))


def print_bytes(line: bytes) -> None:
    """A line of UTF-8 text, visible at once."""
    sys.stdout.write(line.decode() + "\n")
    sys.stdout.flush()


def note(text: str) -> None:
    """A line for the person, not part of the result."""
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


def is_watched() -> bool:
    """Whether a person sees standard error as it is written."""
    return sys.stderr.isatty()
