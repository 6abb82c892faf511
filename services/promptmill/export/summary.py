"""The summary of an export: counts, scores and provenance, collected while rows are written."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from promptmill_schemas import ATTRIBUTES

COLUMNS: Final = (
    *("prompt_id", "run", "kind", "policy_version"),
    *("scores", "reward", "generated_by", "scorer"),
)
"""The columns that :meth:`ExportSummary.add` reads."""

EDGES: Final = tuple(number / 2 for number in range(9))
"""The edges of the bins of scores, from 0 to 4; lower and higher scores have separate bins."""


@dataclass(slots=True)
class ScoreHistogram:
    """The distribution of one score.

    Attributes:
        bins: counts of values below the first edge, between two edges, and from the last edge.
        total: the sum of all values.
        least, greatest: the extreme values; ``None`` if there are no values.
    """

    bins: list[int] = field(default_factory=lambda: [0] * (len(EDGES) + 1))
    total: float = 0.0
    least: float | None = None
    greatest: float | None = None

    @property
    def count(self) -> int:
        """The number of values."""
        return sum(self.bins)

    @property
    def mean(self) -> float | None:
        """The mean; ``None`` if there are no values."""
        return self.total / self.count if self.count else None

    def add(self, values: Any) -> None:
        """Count an array of numbers."""
        if not len(values):
            return
        for position, number in Counter(np.digitize(values, EDGES).tolist()).items():
            self.bins[position] += number
        self.total += float(values.sum())
        least, greatest = float(values.min()), float(values.max())
        self.least = least if self.least is None else min(self.least, least)
        self.greatest = greatest if self.greatest is None else max(self.greatest, greatest)

    def as_json(self) -> dict[str, Any]:
        """Return the distribution as it is written to the manifest."""
        return {
            "mean": None if self.mean is None else round(self.mean, 6),
            "min": self.least,
            "max": self.greatest,
            "edges": list(EDGES),
            "counts": self.bins,
        }


class ExportSummary:
    """Counts of the exported records; its size does not depend on their number."""

    def __init__(self) -> None:
        self.records = 0
        self.runs: Counter[str] = Counter()
        self.kinds: Counter[str] = Counter()
        self.policies: Counter[str] = Counter()
        self.generators: Counter[str] = Counter()
        self.scorers: Counter[str] = Counter()
        self.distributions = {name: ScoreHistogram() for name in (*ATTRIBUTES, "reward")}

    def add(self, batch: pa.RecordBatch) -> None:
        """Count the records of a batch that has :data:`COLUMNS`."""
        self.records += batch.num_rows
        self.runs.update(_texts(batch["run"]))
        self.kinds.update(_texts(batch["kind"]))
        self.policies.update(_texts(batch["policy_version"]))
        self.generators.update(_models(batch["generated_by"]))
        self.scorers.update(_models(batch["scorer"]))
        for name in ATTRIBUTES:
            self._count(name, pc.struct_field(batch["scores"], name))
        self._count("reward", batch["reward"])

    def as_json(self) -> dict[str, Any]:
        """Return the summary as it is written to the manifest, in a fixed order."""
        return {
            "records": self.records,
            "runs": _sorted(self.runs),
            "kinds": _sorted(self.kinds),
            "policies": _sorted(self.policies),
            "generators": _sorted(self.generators),
            "scorers": _sorted(self.scorers),
            "scores": {name: values.as_json() for name, values in self.distributions.items()},
        }

    def _count(self, name: str, values: pa.Array) -> None:
        self.distributions[name].add(values.drop_null().to_numpy(zero_copy_only=False))


def _texts(values: pa.Array) -> Counter[str]:
    counted = values.value_counts()
    names, numbers = counted.field("values").to_pylist(), counted.field("counts").to_pylist()
    return Counter({name: number for name, number in zip(names, numbers, strict=True) if name})


def _models(values: pa.Array) -> Counter[str]:
    """Count the models, with their revisions if they are known."""
    found: Counter[str] = Counter()
    for model in values.to_pylist():
        revision = model.get("revision") or ""
        found[f"{model['model']}@{revision}" if revision else model["model"]] += 1
    return found


def _sorted(counts: Counter[str]) -> dict[str, int]:
    return dict(sorted(counts.items()))
