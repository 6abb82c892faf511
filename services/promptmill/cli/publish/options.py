"""Validation of the options of ``publish``; an invalid one is an error of the command line."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import typer
from pydantic import ValidationError

from promptmill.cli.publish.files.inputs import HUB, STANDARD_INPUT, find_inputs
from promptmill.cli.publish.layouts.choices import LastAnswer, UnknownColumns
from promptmill.cli.publish.layouts.reading import (
    RowReader,
    forced,
    parse_mapping,
)
from promptmill.cli.publish.lines import Defaults
from promptmill_schemas import ContractError, Message, Prompt, Sampling
from promptmill_schemas.base import contract_error

ANY_QUESTION = (Message(role="user", content="?"),)


def require_input(file: str) -> None:
    """Refuse an argument that is neither a readable file or folder nor ``-``."""
    if file == STANDARD_INPUT or file.startswith(HUB):
        return
    if not os.access(file, os.R_OK):
        raise typer.BadParameter(f"{file} is not a readable file or folder", param_hint="FILE")


def refuse_overwriting(file: str, receipts: Path | None) -> None:
    """Refuse to overwrite the input file with its receipts."""
    if receipts is None or not receipts.exists() or file == STANDARD_INPUT or file.startswith(HUB):
        return
    if any(receipts.samefile(each.path) for each in find_inputs(file)):
        raise typer.BadParameter(f"{receipts} is the input file", param_hint="--receipts")


def given_sampling(**options: Any) -> Sampling:
    """Return the sampling parameters for lines that do not set them."""
    try:
        return Sampling.model_validate(
            {k: v for k, v in options.items() if v is not None}, extra="forbid"
        )
    except ValidationError as error:
        raise _of_option(contract_error(error)) from error


def given_tags(pairs: list[str]) -> dict[str, str]:
    """Parse tags from ``key=value``."""
    for pair in pairs:
        if not pair.partition("=")[0] or "=" not in pair:
            raise typer.BadParameter(f"{pair!r} is not key=value", param_hint="--tag")
    return dict(pair.split("=", 1) for pair in pairs)


def publish_defaults(
    run: str, n: int, sampling: Sampling, adapter: str | None, tags: dict[str, str]
) -> Defaults:
    """Return the defaults for every line, validated with a sample prompt."""
    try:
        Prompt.create(run, ANY_QUESTION, n=n, sampling=sampling, adapter=adapter, tags=tags)
    except ValidationError as error:
        raise _of_option(contract_error(error)) from error
    return Defaults(run, n, sampling, adapter, tags)


def row_reader(
    layout: str | None,
    mapping: str | None,
    unknown: UnknownColumns | None,
    last_answer: LastAnswer,
    *,
    wants_answers: bool = False,
) -> RowReader:
    """Return the reader of rows that these options describe."""
    try:
        return RowReader(
            forced(layout) if layout else None,
            is_forced=layout is not None,
            mapping=parse_mapping(mapping or ""),
            unknown=unknown,
            last_answer=last_answer,
            wants_answers=wants_answers,
        )
    except ContractError as error:
        raise _of_option(error) from error


def _of_option(error: ContractError) -> typer.BadParameter:
    name = error.field.split(".")[0].replace("_", "-")
    option = {"tags": "--tag"}.get(name, f"--{name}")
    return typer.BadParameter(f"{error.value}: {error.limit}; {error.remedy}", param_hint=option)
