"""Flags of the whole program win over the environment, in this process and its children."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path


def set_flags(flags: Mapping[str, str | Path | None]) -> None:
    """Put the given ones into the environment; one that is ``None`` was not given."""
    for name, value in flags.items():
        if value is not None:
            os.environ[f"PROMPTMILL_{name.upper()}"] = str(value)
