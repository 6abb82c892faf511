"""The definition of a trainer's format: a function from a record to rows, and their columns."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias

import pyarrow as pa

from promptmill_schemas import Record

Row: TypeAlias = dict[str, Any]
Kind: TypeAlias = Literal["sft", "preference"]
FileFormat: TypeAlias = Literal["jsonl", "jsonl.gz", "jsonl.zst", "parquet"]
TEXT: Final = pa.string()
INT: Final = pa.int64()
REAL: Final = pa.float64()
FLAG: Final = pa.bool_()
MESSAGE: Final = pa.struct([("role", TEXT), ("content", TEXT)])
MESSAGES: Final = pa.list_(MESSAGE)

ANY_KIND: Final[tuple[Kind, ...]] = ("sft", "preference")
JSON_LINES: Final[tuple[FileFormat, ...]] = ("jsonl", "jsonl.gz", "jsonl.zst")
ALL_FILES: Final[tuple[FileFormat, ...]] = (*JSON_LINES, "parquet")


@dataclass(frozen=True, slots=True)
class Context:
    """The values besides its record on which a row may depend.

    Attributes:
        split: the split that the record belongs to.
        index: the number of records before this one in the split.
        verifier: the name by which reinforcement-learning formats choose a scoring function or an
            environment; a record's tag ``verifier`` takes precedence.
    """

    split: str = "train"
    index: int = 0
    verifier: str = "promptmill"


@dataclass(frozen=True, slots=True)
class TrainerFormat:
    """One trainer's file format.

    Attributes:
        name: the name for ``promptmill export --for``.
        trainer: the program that reads the rows.
        purpose: what the trainer does with them.
        kinds: the kinds of records that have rows in this format.
        schema: the columns of a row. Every row has all of them, so that all files have one schema.
        rows: yields the rows of a record, without side effects; none if the record does not fit.
        usage: the options with which the trainer reads the files.
        files: the file formats that the trainer reads.
        reads_candidates: whether ``rows`` reads ``record.candidates``, which are large.
        companions: functions that return the content of further files from the paths of the
            splits, by the name of the file.
        legacy: whether the trainer is no longer developed.
    """

    name: str
    trainer: str
    purpose: str
    kinds: tuple[Kind, ...]
    schema: pa.Schema
    rows: Callable[[Record, Context], Iterable[Row]]
    usage: str
    files: tuple[FileFormat, ...] = ALL_FILES
    reads_candidates: bool = False
    companions: Callable[[Mapping[str, list[str]]], Mapping[str, Any]] | None = None
    legacy: bool = False


def columns(**types: pa.DataType) -> pa.Schema:
    """Return a schema of these columns, in this order."""
    return pa.schema(list(types.items()))


def table_of(formats: Iterable[TrainerFormat]) -> dict[str, TrainerFormat]:
    """Return the formats by name.

    Raises:
        ValueError: two of them have the same name.
    """
    found: dict[str, TrainerFormat] = {}
    for each in formats:
        if each.name in found:
            raise ValueError(f"two formats are named {each.name}")
        found[each.name] = each
    return found
