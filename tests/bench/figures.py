"""The end of a benchmark: its figures, for people or for machines."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any


def show_figures(figures: Sequence[Mapping[str, Any]], *, as_json: bool) -> None:
    """Print one line for each measurement, or all of them as one JSON document."""
    if as_json:
        print(json.dumps(figures))
        return
    for each in figures:
        print(", ".join(f"{name} {value}" for name, value in each.items()))
