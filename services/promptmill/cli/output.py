"""Output of the commands: results on standard output, everything else on standard error."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from promptmill.runtime.terminal import printable, printable_json

if TYPE_CHECKING:
    from rich.progress import Progress as Bar

    from promptmill.devstack.jars import DownloadProgress, OnProgress

LIBRARIES = ("aiokafka", "asyncio", "faststream")


def print_json(value: Any) -> None:
    """Print a value as one line of JSON."""
    import orjson

    print_document(orjson.dumps(value))


def print_document(document: bytes) -> None:
    """Print a JSON document and flush it; it contains no terminal control characters."""
    sys.stdout.write(printable_json(document) + "\n")
    sys.stdout.flush()


def print_bytes(text: bytes) -> None:
    """Print lines of UTF-8 text and flush them; terminal control characters are escaped."""
    sys.stdout.write(printable(text.decode(), lines=True) + "\n")
    sys.stdout.flush()


def note(text: str) -> None:
    """Print lines on standard error, for information that is not part of the result."""
    sys.stderr.write(printable(text, lines=True) + "\n")
    sys.stderr.flush()


def is_watched() -> bool:
    """Return whether standard error is a terminal."""
    return sys.stderr.isatty()


def quiet_logs() -> None:
    """Log only critical events, and only to standard error."""
    import structlog

    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    for name in LIBRARIES:
        logging.getLogger(name).setLevel(logging.CRITICAL)


@contextmanager
def stack_progress() -> Iterator[OnProgress]:
    """Show the progress of the local stack: bars on a terminal, otherwise one line per step."""
    if is_watched():
        with _bar("{task.percentage:>3.0f} %") as bar:
            yield _on_bar(bar)
    else:
        yield _as_lines()


@contextmanager
def line_progress(total_bytes: int | None) -> Iterator[Callable[[int, str], None]]:
    """Show the progress of reading a file, if standard error is a terminal.

    Args:
        total_bytes: size of the file; ``None`` if unknown.

    Yields:
        A function to call with the number of bytes read so far and a text to show.
    """
    if not is_watched():
        yield lambda _done, _text: None
        return
    with _bar("{task.fields[text]}") as bar:
        task = bar.add_task("publishing", total=total_bytes, text="")
        yield lambda done, text: bar.update(task, completed=done, text=printable(text))


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

    def show(progress: DownloadProgress) -> None:
        if progress.step not in tasks:
            tasks[progress.step] = bar.add_task(printable(progress.step), total=progress.total)
        bar.update(tasks[progress.step], completed=progress.done, total=progress.total)

    return show


def _as_lines() -> OnProgress:
    seen: set[str] = set()

    def show(progress: DownloadProgress) -> None:
        if progress.step not in seen:
            seen.add(progress.step)
            note(f"{progress.step} …")

    return show
