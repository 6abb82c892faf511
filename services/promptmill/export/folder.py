"""The file or folder of an export, which gets its name when it is complete."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from promptmill.export.formats.format import ALL_FILES, FileFormat
from promptmill.export.splits import DATA
from promptmill.runtime.errors import Misconfigured

MANIFEST: Final = "manifest.json"

_ENDINGS: Final[dict[str, FileFormat]] = {f".{form}": form for form in ALL_FILES}


def format_by_name(out: Path) -> FileFormat | None:
    """Return the format of the suffix of a file's name; ``None`` for the name of a folder."""
    return next((form for end, form in _ENDINGS.items() if out.name.endswith(end)), None)


def file_format(out: Path, given: FileFormat | None) -> FileFormat:
    """Return the format of the files of an export.

    Args:
        out: the file or folder.
        given: the format that the user chose, if any.

    Raises:
        Misconfigured: the name of the file has the suffix of another format.
    """
    named = format_by_name(out)
    if named is not None and given not in {None, named}:
        raise Misconfigured(
            f"--format {given} contradicts --out {out}, which is the name of a file of format "
            f"{named}; omit --format, or give the file another ending"
        )
    return named or given or "jsonl"


@contextmanager
def appearing(out: Path, *, replace: bool) -> Iterator[Path]:
    """Yield a folder for drafts, whose content becomes ``out`` at the end.

    After an error, the drafts are deleted, and an earlier ``out`` is unchanged.

    Args:
        out: a file, if its name says so, or a folder.
        replace: whether an earlier export's folder may be replaced.

    Raises:
        Misconfigured: ``out`` exists, or it cannot be written.
    """
    single = format_by_name(out) is not None
    _check_free(out, single=single, replace=replace)
    draft = out.with_name(f".{out.name}.{os.getpid()}.part")
    try:
        (draft / DATA).mkdir(parents=True)
        yield draft
        if single:
            (only,) = (draft / DATA).iterdir()
            only.replace(out)
        else:
            _swap(draft, out)
    except OSError as error:
        raise Misconfigured(f"cannot write {out}: {error}; choose another --out") from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _check_free(out: Path, *, single: bool, replace: bool) -> None:
    if not out.parent.is_dir():
        raise Misconfigured(f"cannot write {out}: there is no folder {out.parent}; create it first")
    if single:
        if out.is_dir():
            raise Misconfigured(f"cannot write {out}: it is a folder; choose another --out")
        return
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return
    if not (out / MANIFEST).is_file():
        raise Misconfigured(
            f"{out} exists and is not an earlier export; choose another --out, or a file whose "
            f"name ends with {', '.join(_ENDINGS)}"
        )
    if not replace:
        raise Misconfigured(
            f"{out} holds an earlier export; choose another --out, or replace it with --replace"
        )


def _swap(draft: Path, out: Path) -> None:
    """Rename the draft to ``out``. Between the two renames, no folder of that name exists."""
    old = draft.with_suffix(".old")
    if out.exists():
        out.rename(old)
    draft.rename(out)
    shutil.rmtree(old, ignore_errors=True)
