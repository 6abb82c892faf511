"""How long to wait before something that has failed is tried again."""

from __future__ import annotations

import random
from collections.abc import Callable

Draw = Callable[[], float]
"""A random number from 0 to 1, without 1; tests put in their own."""

_MAX_DOUBLINGS = 30


def backoff_s(failures: int, initial_s: float, max_s: float, draw: Draw = random.random) -> float:
    """The pause after this many failures in a row (from 1), in seconds.

    The pause doubles with each failure up to ``max_s``; half of it is fixed and the other half
    is drawn ("equal jitter"). Workers whose shared dependency returns would otherwise all come
    back at the same moment, again and again.
    """
    ceiling = min(max_s, initial_s * 2 ** min(failures - 1, _MAX_DOUBLINGS))
    return float(ceiling / 2 * (1 + draw()))
