"""The dataset card: a README.md with the metadata that the Hugging Face Hub reads."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

from promptmill.export.formats import TrainerFormat
from promptmill_schemas import ATTRIBUTES

_SIZES: Final = (
    (1_000, "n<1K"),
    (10_000, "1K<n<10K"),
    (100_000, "10K<n<100K"),
    (1_000_000, "100K<n<1M"),
    (10_000_000, "1M<n<10M"),
    (100_000_000, "10M<n<100M"),
)
_LARGER: Final = "100M<n<1B"
_SHOWN: Final = 20
"""The number of entries of a count to list; the manifest has all of them."""


def dataset_card(title: str, form: TrainerFormat | None, manifest: Mapping[str, Any]) -> str:
    """Return the text of the card.

    Args:
        title: the title of the data set.
        form: the trainer's format; ``None`` for promptmill's own rows.
        manifest: the manifest of the export.
    """
    parts = [_metadata(title, manifest), f"# {title}\n", _introduction(form, manifest)]
    parts += [_splits(manifest), _scores(manifest), _provenance(manifest)]
    return "\n".join(parts)


def size_category(rows: int) -> str:
    """Return the Hub's name for a number of rows."""
    return next((name for limit, name in _SIZES if rows < limit), _LARGER)


def _metadata(title: str, manifest: Mapping[str, Any]) -> str:
    """Return the block of YAML; values are written as JSON, which is valid YAML."""
    rows = sum(split["rows"] for split in manifest["splits"].values())
    kind = "parquet" if manifest["file_format"] == "parquet" else "json"
    data = [{"split": name, "path": f"data/{name}-*"} for name in manifest["splits"]]
    fields: dict[str, Any] = {
        "license": manifest["licence"] or "unknown",
        "pretty_name": title,
        "size_categories": [size_category(rows)],
        "task_categories": ["text-generation"],
        "tags": ["synthetic", "promptmill", manifest["format"], kind],
        "configs": [{"config_name": "default", "data_files": data}],
    }
    lines = [f"{name}: {json.dumps(value, ensure_ascii=False)}" for name, value in fields.items()]
    return "\n".join(["---", *lines, "---", ""])


def _introduction(form: TrainerFormat | None, manifest: Mapping[str, Any]) -> str:
    what = (
        "Training records as promptmill stores them."
        if form is None
        else f"Rows for {form.trainer}: {form.purpose}."
    )
    columns = ", ".join(f"`{name}`" for name in manifest["columns"])
    usage = "" if form is None else f"Use them with `{form.usage}`.\n"
    return (
        f"{what} promptmill generated the answers, graded each one for helpfulness, correctness,\n"
        "coherence, complexity and verbosity, and kept those that its policy accepted.\n\n"
        f"Columns: {columns}.\n{usage}"
    )


def _splits(manifest: Mapping[str, Any]) -> str:
    rows = [
        [name, f"{split['rows']:,}", str(len(split["files"]))]
        for name, split in manifest["splits"].items()
    ]
    records, without = manifest["records"], manifest["records_without_rows"]
    left_out = f" {without:,} of them have no row in this format." if without else ""
    table = _table(["split", "rows", "files"], rows)
    return f"## Splits\n\n{table}\n\nThe rows come from {records:,} records.{left_out}\n"


def _scores(manifest: Mapping[str, Any]) -> str:
    """Return tables with the mean and histogram of each attribute over the chosen answers."""
    scores = manifest["scores"]
    edges = scores[ATTRIBUTES[0]]["edges"]
    bins = [f"< {edges[0]:g}"]
    bins += [f"{low:g} to {high:g}" for low, high in itertools.pairwise(edges)]
    bins += [f"{edges[-1]:g} and more"]
    counts = [
        [name, *(f"{scores[attribute]['counts'][number]:,}" for attribute in ATTRIBUTES)]
        for number, name in enumerate(bins)
    ]
    names = (*ATTRIBUTES, "reward")
    spread = [
        [name, *(_number(scores[name][statistic]) for statistic in ("mean", "min", "max"))]
        for name in names
    ]
    return (
        "## Scores\n\nScores of the chosen answers, nominally from 0 to 4.\n\n"
        f"{_table(['', 'mean', 'min', 'max'], spread)}\n\n"
        f"{_table(['score', *ATTRIBUTES], counts)}\n"
    )


def _provenance(manifest: Mapping[str, Any]) -> str:
    table, selection = manifest["table"], manifest["selection"]
    where = f", where `{selection['where']}`" if selection["where"] else ""
    lines = [
        f"- Version {table['version']} of the Delta table `{table['name']}` ({table['id']}){where}."
    ]
    lines += [
        f"- {name.capitalize()}: {', '.join(_counted(manifest[name]))}."
        for name in ("runs", "kinds", "policies", "generators", "scorers")
    ]
    licence = manifest["licence"] or "not stated"
    return (
        "## Provenance\n\n" + "\n".join(lines) + f"\n\n## Licence\n\nThe licence is {licence}.\n\n"
        "`manifest.json` lists every file with its number of rows and its SHA-256 digest.\n"
    )


def _counted(counts: Mapping[str, int]) -> Iterator[str]:
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    for name, number in ordered[:_SHOWN]:
        yield f"`{name}` ({number:,})"
    if len(ordered) > _SHOWN:
        yield f"{len(ordered) - _SHOWN} more"
    if not ordered:
        yield "none"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


def _table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
