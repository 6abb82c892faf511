"""Writing the page of ``promptmill report`` to a file."""

from __future__ import annotations

import os
from pathlib import Path

from promptmill.runtime.errors import Misconfigured


def write(out: Path, page: str) -> int:
    """Write the page atomically, and return its size in bytes.

    Raises:
        Misconfigured: the file cannot be written.
    """
    content = page.encode("utf-8", "backslashreplace")
    draft = out.with_name(f".{out.name}.{os.getpid()}.part")
    try:
        draft.write_bytes(content)
        draft.replace(out)
    except OSError as error:
        raise Misconfigured(f"cannot write {out}: {error}; choose another --out") from error
    finally:
        draft.unlink(missing_ok=True)
    return len(content)
