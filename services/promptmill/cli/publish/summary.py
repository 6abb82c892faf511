"""The summary that ``publish`` prints at its end."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from promptmill.cli.publish.id_set import IdSet
from promptmill.cli.publish.lines import findings_of
from promptmill.cli.publish.ports import LineResult
from promptmill_schemas import ContractError

SHOWN_ERRORS = 20
SHOWN_KINDS = 20
MAX_KINDS = 1_000
OTHER_KIND = "other errors"
_NUMBER = re.compile(r"(?<![^.])\d+(?![^.])")


@dataclass(slots=True)
class PublishSummary:
    """The counts of lines by result, and the first errors.

    Attributes:
        duplicates: number of prompts that were published before.
        pending: how many of the duplicates have no outcome in the store.
        waits, waited_s: how often and for how long backpressure delayed the command.
        held: why the command ended before the end of its input; ``None`` if it did not.
    """

    run: str
    published: int = 0
    duplicate: int = 0
    invalid: int = 0
    pending: int = 0
    waits: int = 0
    waited_s: float = 0.0
    held: dict[str, Any] | None = None
    duplicates: IdSet = field(default_factory=IdSet)
    errors: list[str] = field(default_factory=list)
    kinds: Counter[str] = field(default_factory=Counter)

    def add(self, result: LineResult) -> None:
        """Count the result of one line."""
        setattr(self, result.outcome, getattr(self, result.outcome) + 1)
        if result.outcome == "duplicate" and result.prompt_id is not None:
            self.duplicates.add(result.prompt_id)
        if result.error is None:
            return
        if len(self.errors) >= SHOWN_ERRORS:
            self._count_kinds(result.error)
        else:
            file = "" if result.file is None else f"{result.file} "
            self.errors.append(f"{file}line {result.number}: {result.error}")

    def _count_kinds(self, error: ContractError) -> None:
        """Count each kind of error once per line, so that the counts are numbers of lines."""
        for kind in {_kind(finding) for finding in findings_of(error)}:
            is_kept = kind in self.kinds or len(self.kinds) < MAX_KINDS
            self.kinds[kind if is_kept else OTHER_KIND] += 1

    def as_json(self) -> dict[str, Any]:
        """Return the object that ``publish --json`` prints."""
        counts: dict[str, Any] = {
            "run": self.run,
            "published": self.published,
            "duplicate": self.duplicate,
            "invalid": self.invalid,
        }
        if self.waits:
            counts |= {"waits": self.waits, "waited_s": round(self.waited_s, 3)}
        if self.held is not None:
            counts["held"] = self.held
        return counts | ({"pending": self.pending} if self.pending else {})

    def counts(self) -> str:
        """Return the counts as text."""
        parts = [f"{self.published:,} published"]
        if self.duplicate:
            parts.append(f"{self.duplicate:,} already published")
        if self.invalid:
            parts.append(f"{self.invalid:,} invalid")
        return ", ".join(parts)

    def pending_lines(self) -> list[str]:
        """Return a hint about prompts that were published before and have no outcome."""
        if not self.pending:
            return []
        line = (
            f"{self.pending:,} of the prompts that were already published have no outcome yet: "
            f"see where they are with `promptmill pending --run {self.run}`; lost prompts are "
            f"sent again with `promptmill requeue --run {self.run}`, not by publishing them"
        )
        return [line]

    def error_lines(self) -> list[str]:
        """Return the first errors, and the number and kinds of all errors."""
        more = self.invalid - len(self.errors)
        if not more:
            return self.errors
        kinds = [f"  {count:,} × {kind}" for kind, count in self.kinds.most_common(SHOWN_KINDS)]
        return [*self.errors, f"… and {more:,} more; --receipts lists all:", *kinds]


def _kind(error: ContractError) -> str:
    """Return the kind of an error: its field, without indices of lists, and its remedy."""
    return f"{_NUMBER.sub('*', error.field) or 'message'}: {error.remedy}"
