"""How far the grading is, for a person at a terminal."""

from __future__ import annotations

import sys

from promptmill.gateway.output import is_watched

EVERY = 16


def tell(done: int, total: int) -> None:
    """One line that is written over and over; it ends with the last answer."""
    if is_watched() and (done % EVERY == 0 or done == total):
        end = "\n" if done == total else ""
        sys.stderr.write(f"\r{done:,} of {total:,} answers graded{end}")
        sys.stderr.flush()
