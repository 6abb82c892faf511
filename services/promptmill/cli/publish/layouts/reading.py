"""Reading a row as a plain line, by its layout and the options for mapped and other columns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

import orjson

from promptmill.cli.publish.layouts.answers import model_of, take_answers
from promptmill.cli.publish.layouts.choices import LastAnswer, UnknownColumns
from promptmill.cli.publish.layouts.openai_batch import plain_from_batch
from promptmill.cli.publish.layouts.plain import (
    FIELDS,
    Row,
    Taken,
    answer_reference,
    read_columns,
)
from promptmill.cli.publish.layouts.table import BATCH, LAYOUTS, PLAIN, RowLayout, layout_of
from promptmill.cli.publish.layouts.turns import clean_turns, split_answer
from promptmill_schemas import ContractError

OWN: Final = (BATCH, PLAIN)
"""The layouts that refuse unknown columns; their rows may be mixed in one file."""


@dataclass(frozen=True, slots=True)
class RowReader:
    """A reader that translates rows to plain lines.

    Attributes:
        layout: the rows' layout; ``None`` recognises the layout of each row.
        is_forced: whether the layout also applies to rows that look like another one.
        mapping: the names of columns by the field of a plain line that they become.
        unknown: what to do with unknown columns; ``None`` refuses them in promptmill's own layouts
            and ignores them in others.
        last_answer: what the assistant's turn at the end of a conversation becomes.
        wants_answers: whether to read the answers to the prompts from the rows.
    """

    layout: RowLayout | None = None
    is_forced: bool = False
    mapping: Mapping[str, str] = field(default_factory=dict)
    unknown: UnknownColumns | None = None
    last_answer: LastAnswer = LastAnswer.REFERENCE
    wants_answers: bool = False

    def take(self, row: Row) -> Taken:
        """Read a row; raise :class:`ContractError` if its outer structure is invalid."""
        row = read_columns(row)
        if self.wants_answers:
            taken = replace(self, wants_answers=False, last_answer=LastAnswer.REFUSE).take(row)
            fields, answers = take_answers(row, taken.fields)
            return replace(taken, fields=fields, answers=answers, model=model_of(row))
        layout = self._layout_of(row)
        if layout is None or layout.name in OWN:
            taken = self._own(row, layout)
        else:
            fields, names = layout.read(row, self.last_answer)
            taken = Taken({**fields, **self._rest(layout.unknown(row), row, fields)}, names)
        return self._mapped(taken, row) if self.mapping else taken

    @property
    def reads_texts(self) -> bool:
        """Whether a row with only a ``prompt`` can be read without a layout."""
        return not self.is_forced and not self.mapping and not self.wants_answers

    def with_layout(self, layout: RowLayout) -> RowReader:
        """Return the same reader for rows of this layout."""
        return replace(self, layout=layout)

    def _layout_of(self, row: Row) -> RowLayout | None:
        if self.layout is not None and (self.is_forced or self.layout.matches(row)):
            return self.layout
        if self.mapping:
            return self.layout
        return layout_of(row) or self.layout

    def _own(self, row: Row, layout: RowLayout | None) -> Taken:
        if layout is not None and layout.name == BATCH:
            taken = plain_from_batch(row)
        else:
            taken = Taken(row, {})
            if self.mapping or self.unknown not in {None, UnknownColumns.REFUSE}:
                known = {} if self.mapping and layout is None else row
                fields = {name: value for name, value in known.items() if name in FIELDS}
                others = [name for name in row if name not in fields]
                taken = Taken({**fields, **self._rest(others, row, fields)}, {})
        return self._cleaned(taken)

    def _cleaned(self, taken: Taken) -> Taken:
        messages = taken.fields.get("messages")
        if messages is None:
            return taken
        messages, answer = split_answer(clean_turns(messages), self.last_answer)
        fields = {**taken.fields, "messages": messages}
        if answer is not None:
            fields.setdefault("reference", answer)
        return replace(taken, fields=fields)

    def _rest(self, columns: list[str], row: Row, fields: Row) -> Row:
        """Return the unknown columns as fields, which are refused, as tags, or not at all."""
        if self.unknown is UnknownColumns.REFUSE:
            return {name: row[name] for name in columns}
        if self.unknown is not UnknownColumns.TAGS:
            return {}
        used = {column.split(".")[0] for column in self.mapping.values()}
        found = {name: _as_tag(row[name]) for name in columns if name not in used}
        return {"tags": {**found, **(fields.get("tags") or {})}} if found else {}

    def _mapped(self, taken: Taken, row: Row) -> Taken:
        fields, names = dict(taken.fields), dict(taken.names)
        for target, column in self.mapping.items():
            names[target] = column
            value = _at(row, column)
            if value is not None:
                _put(fields, target, answer_reference(value) if target == "reference" else value)
        if "prompt" in self.mapping:
            fields.pop("messages", None)
        elif "messages" in self.mapping:
            fields.pop("prompt", None)
        return self._cleaned(replace(taken, fields=fields, names=names))


def parse_mapping(pairs: str) -> dict[str, str]:
    """Parse ``field=column,…``; raise :class:`ContractError` with an unknown field."""
    mapping = {}
    for pair in filter(None, (part.strip() for part in pairs.split(","))):
        target, _, column = pair.partition("=")
        root = target.split(".")[0]
        if not column or root not in FIELDS - {"prompt_id", "draw"}:
            limit = f"field=column, where field is one of {', '.join(sorted(FIELDS))}"
            remedy = "write for example prompt=question,tags.answer=answer"
            raise ContractError("map", pair, limit, remedy)
        mapping[target] = column
    return mapping


def forced(name: str) -> RowLayout:
    """Return the layout of this name; raise :class:`ContractError` if there is none."""
    if name not in LAYOUTS:
        limit = f"it must be one of {', '.join(LAYOUTS)}"
        raise ContractError("layout", name, limit, "use one of these, or --map")
    return LAYOUTS[name]


def _at(row: Row, column: str) -> Any:
    """Return the value of a column or, for a name with dots, a part of it."""
    if column in row:
        return row[column]
    value: Any = row
    for name in column.split("."):
        value = value.get(name) if isinstance(value, dict) else None
    return value


def _put(fields: Row, target: str, value: Any) -> None:
    *folders, name = target.split(".")
    place = fields
    for folder in folders:
        inner = place.get(folder)
        place[folder] = place = dict(inner) if isinstance(inner, dict) else {}
    place[name] = value


def _as_tag(value: Any) -> Any:
    if isinstance(value, str | int | float | bool):
        return value
    text = orjson.dumps(value, default=str)
    return orjson.loads(text) if text.startswith(b'"') else text.decode()
