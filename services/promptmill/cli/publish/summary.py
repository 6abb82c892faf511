"""What ``publish`` says at its end."""

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
    """Counts by outcome, and the first errors.

    Attributes:
        duplicates: prompts that were published before.
        pending: how many of those have no outcome in the store.
        waits, waited_s: how often and for how long backpressure made it wait.
        held: why it ended before the end of its input; ``None`` when it did not.
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
        """Count one line."""
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
        """Count each kind once for the line, so that the counts are lines."""
        for kind in {_kind(finding) for finding in findings_of(error)}:
            is_kept = kind in self.kinds or len(self.kinds) < MAX_KINDS
            self.kinds[kind if is_kept else OTHER_KIND] += 1

    def as_json(self) -> dict[str, Any]:
        """What ``publish --json`` prints."""
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
        """The counts in words."""
        parts = [f"{self.published:,} published"]
        if self.duplicate:
            parts.append(f"{self.duplicate:,} already published")
        if self.invalid:
            parts.append(f"{self.invalid:,} invalid")
        return ", ".join(parts)

    def pending_lines(self) -> list[str]:
        """What to do about prompts that were published before and have no outcome."""
        if not self.pending:
            return []
        line = (
            f"{self.pending:,} of the prompts that were already published have no outcome yet: "
            f"see where they are with `promptmill pending --run {self.run}`; lost prompts are "
            f"sent again with `promptmill requeue --run {self.run}`, not by publishing them"
        )
        return [line]

    def error_lines(self) -> list[str]:
        """The first errors, how many more there are, and of which kinds."""
        more = self.invalid - len(self.errors)
        if not more:
            return self.errors
        kinds = [f"  {count:,} × {kind}" for kind, count in self.kinds.most_common(SHOWN_KINDS)]
        return [*self.errors, f"… and {more:,} more; --receipts lists all:", *kinds]


def _kind(error: ContractError) -> str:
    """The field, whatever its place in a list, and what to do about it."""
    return f"{_NUMBER.sub('*', error.field) or 'message'}: {error.remedy}"
