"""Folders that are created atomically, and only once for each recipe."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

RECIPE = "promptmill-recipe"
"""Name of the file that holds the recipe of a folder."""


def make_once(folder: Path, recipe: str, write: Callable[[Path], object]) -> None:
    """Create the folder with ``write``, unless it exists with this recipe.

    Two processes may call this at the same time.
    """
    if _made_from(folder) == recipe:
        return
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-") as scratch:
        fresh = Path(scratch, folder.name)
        write(fresh)
        (fresh / RECIPE).write_text(recipe, "utf-8")
        _replace(folder, fresh, Path(scratch, "old"))


def _replace(folder: Path, fresh: Path, old: Path) -> None:
    """Replace ``folder`` with ``fresh``, unless another process has just done so."""
    if folder.exists():
        folder.rename(old)
    try:
        fresh.rename(folder)
    except OSError:
        if _made_from(folder) is None:
            raise
    finally:
        shutil.rmtree(old, ignore_errors=True)


def _made_from(folder: Path) -> str | None:
    path = folder / RECIPE
    return path.read_text("utf-8") if path.is_file() else None
