"""The README's snippets read the tables between two commits of a run.

A snippet is executed as it stands, in a folder that holds ``store``. Each one is run once between
the commits and once after a compaction, because both change which files are part of the table.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from support.exports import BAD, GOOD, Records, pair, sft

pytestmark = pytest.mark.real

pytest.importorskip("duckdb")
pytest.importorskip("polars")
pytest.importorskip("datasets")

README = Path(__file__).parents[3] / "README.md"
SNIPPET = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
CHECKS: dict[str, Callable[[dict[str, Any], int], bool]] = {
    "duckdb": lambda names, count: (
        [row[1] for row in names["best"].fetchall()] == [GOOD] * 2 * count
    ),
    "polars": lambda names, count: names["answers"]["rejected"].to_list() == [BAD] * count,
    "datasets": lambda names, count: len(list(names["rows"])) == count,
}


def snippet(library: str) -> str:
    """The README's snippet that imports this library."""
    (found,) = [
        text
        for text in SNIPPET.findall(README.read_text())
        if f"import {library}\n" in text or f"from {library} import" in text
    ]
    return str(found)


@pytest.mark.parametrize("library", CHECKS)
@pytest.mark.filterwarnings("default")
def test_a_snippet_of_the_readme_reads_the_table_in_mid_run(
    library: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "cache"))
    table = Records(tmp_path / "store")
    for count in (1, 2):
        table.add(sft(number=count), pair(number=count))
        names: dict[str, Any] = {}
        exec(snippet(library), names)  # noqa: S102 - our own README
        assert CHECKS[library](names, count)
    table.compact()
    names = {}
    exec(snippet(library), names)  # noqa: S102 - our own README
    assert CHECKS[library](names, 2)
