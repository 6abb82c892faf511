"""Accuracy by ground truth, from rows as the store has them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa
import pytest

from promptmill.lake.ports import TableName
from promptmill.lake.tables import columns
from promptmill_demo import accuracy
from promptmill_demo.accuracy import accuracy_report

CAPITAL = {"family": "open_qa", "kind": "capital", "subject": "France", "answer": "Paris"}
PARITY = {"family": "classify", "kind": "parity", "subject": "7", "answer": "odd"}
CANDIDATES = pa.list_(pa.struct([("index", pa.int64()), ("text", pa.string())]))


def row(tags: dict[str, str], answers: Sequence[str], chosen: str | None = None) -> dict[str, Any]:
    candidates = [{"index": index, "text": text} for index, text in enumerate(answers)]
    return {"tags": columns.as_json(tags), "candidates": candidates, "chosen": chosen}


ROWS = {
    TableName.RECORDS: [
        row(CAPITAL, ["Paris", "Rome", "It is Paris.", "Oslo"], "It is Paris."),
        row(PARITY, ["Even.", "Odd."], "Even."),
        row({"family": "open_qa", "answer": "of a prompt without a kind"}, ["Yes"], "Yes"),
    ],
    TableName.REJECTS: [row(CAPITAL, ["Rome", "Rome"])],
}


class Snapshot:
    """Rows of one table."""

    def __init__(self, rows: list[dict[str, Any]]) -> None:
        self._rows = rows

    def scan(self, names: Sequence[str], _condition: object) -> Iterator[pa.RecordBatch]:
        kinds = {"tags": columns.JSON, "candidates": CANDIDATES, "chosen": pa.string()}
        schema = pa.schema([(name, kinds[name]) for name in names])
        chosen = [{name: each[name] for name in names} for each in self._rows]
        yield pa.RecordBatch.from_pylist(chosen, schema=schema)


class Reader:
    """Tables of a store; one that is not there yet has no snapshot."""

    def __init__(self, rows: dict[TableName, list[dict[str, Any]]]) -> None:
        self._rows = rows

    def snapshot(self, name: TableName) -> Snapshot | None:
        return Snapshot(self._rows[name]) if name in self._rows else None


def report(
    monkeypatch: pytest.MonkeyPatch, rows: dict[TableName, list[dict[str, Any]]]
) -> dict[str, Any]:
    monkeypatch.setattr(accuracy, "DeltaReader", lambda _store: Reader(rows))
    return accuracy_report("store", "demo")


def test_all_answers_count_against_the_accepted_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    figures = report(monkeypatch, ROWS)
    assert figures["prompts"] == 3
    assert figures["accuracy_all"] == 3 / 8
    assert figures["accuracy_accepted"] == 1 / 2
    assert figures["kept"] == 2 / 3
    assert figures["kept_of_answers"] == 2 / 8


def test_each_family_has_its_own_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    families = report(monkeypatch, ROWS)["by_family"]
    assert list(families) == ["classify", "open_qa"]
    assert families["open_qa"]["accuracy_accepted"] == 1
    assert families["open_qa"]["kept"] == 1 / 2
    assert families["classify"]["accuracy_accepted"] == 0


def test_an_empty_store_has_no_shares(monkeypatch: pytest.MonkeyPatch) -> None:
    figures = report(monkeypatch, {})
    assert (figures["accuracy_all"], figures["kept"], figures["by_family"]) == (None, None, {})
