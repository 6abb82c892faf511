"""A name for the content of a model's folder."""

from __future__ import annotations

from hashlib import blake2b
from pathlib import Path

EDGE_BYTES = 1 << 20
"""Read from each end of a file, so that large weights cost nothing."""


def folder_digest(folder: Path) -> str:
    """BLAKE2b-128 over names, sizes, and the first and last MiB of the files in a folder."""
    digest = blake2b(digest_size=16)
    for path in sorted(folder.iterdir()):
        if not path.is_file():
            continue
        size = path.stat().st_size
        digest.update(f"{path.name}\0{size}\0".encode())
        with path.open("rb") as file:
            digest.update(file.read(EDGE_BYTES))
            file.seek(max(file.tell(), size - EDGE_BYTES))
            digest.update(file.read(EDGE_BYTES))
    return digest.hexdigest()
