"""The options of ``promptmill export`` that need parsing, and its output."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from promptmill.cli.output import print_bytes, print_json
from promptmill.export.export import OWN, Exported
from promptmill.export.formats import FORMATS
from promptmill.export.hub import Pushed
from promptmill.runtime.errors import Misconfigured

MIN_SHARD_BYTES: Final = 1_000_000

_SIZE: Final = re.compile(r"(\d+(?:\.\d+)?) ?(K|M|G|T)?(i)?B?", re.IGNORECASE)
_POWERS: Final = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4}


def shard_bytes(text: str) -> int:
    """Parse a size such as ``512MB``, ``1.5GiB`` or ``1000000`` to a number of bytes.

    Raises:
        Misconfigured: the text is not a size, or the size is too small.
    """
    found = _SIZE.fullmatch(text.strip())
    if found is None:
        raise Misconfigured(
            f"--shard-size {text}: this is not a size; write a number with kB, MB, GB or their "
            "binary units, such as 512MB or 1GiB"
        )
    number, unit, binary = found.groups()
    size = int(float(number) * (1024 if binary else 1000) ** _POWERS[(unit or "").lower()])
    if size < MIN_SHARD_BYTES:
        raise Misconfigured(f"--shard-size {text}: at least 1MB is needed; choose a larger size")
    return size


def list_formats(*, as_json: bool) -> None:
    """Print every trainer format with its purpose."""
    if as_json:
        print_json(
            [
                {
                    "name": each.name,
                    "trainer": each.trainer,
                    "purpose": each.purpose,
                    "kinds": each.kinds,
                    "columns": each.schema.names,
                    "formats": each.files,
                    "usage": each.usage,
                    "legacy": each.legacy,
                }
                for each in FORMATS.values()
            ]
        )
        return
    width = max(map(len, FORMATS))
    print_bytes(f"{OWN:{width}}  promptmill's own rows, as in the table (the default)".encode())
    for each in FORMATS.values():
        legacy = " (legacy)" if each.legacy else ""
        print_bytes(f"{each.name:{width}}  {each.trainer}{legacy}: {each.purpose}".encode())


def report(done: Exported, pushed: Pushed | None, *, as_json: bool) -> None:
    """Print the result of an export and of its upload."""
    if as_json:
        print_json(done.as_json() | ({} if pushed is None else {"pushed": pushed.as_json()}))
        return
    what = _counted(done.manifest["records"], "record")
    if done.manifest["format"] != OWN:
        what = f"{_counted(done.rows, 'row')} from {what}"
    print_bytes(f"{what} of table version {done.version} written to {done.out}".encode())
    if pushed is not None:
        print_bytes(f"uploaded to {pushed.dataset}: {pushed.url}".encode())


def report_growing(out: Path, manifest: Mapping[str, Any], *, as_json: bool) -> None:
    """Print what an export with ``--follow`` has written, including its earlier runs."""
    rows = sum(split["rows"] for split in manifest["splits"].values())
    files = sum(len(split["files"]) for split in manifest["splits"].values())
    if as_json:
        print_json({"out": str(out), "rows": rows, "files": files, "manifest": manifest})
        return
    where = f"{_counted(files, 'file')} of {out}"
    print_bytes(f"{_counted(rows, 'row')} in {where}".encode())


def _counted(number: int, noun: str) -> str:
    return f"1 {noun}" if number == 1 else f"{number:,} {noun}s"
