"""What ``publish`` says at its end."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from promptmill.cli.publish.id_set import IdSet
from promptmill.cli.publish.publisher import LineResult

SHOWN_ERRORS = 20


@dataclass(slots=True)
class Summary:
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

    def add(self, result: LineResult) -> None:
        """Count one line."""
        setattr(self, result.outcome, getattr(self, result.outcome) + 1)
        if result.outcome == "duplicate" and result.prompt_id is not None:
            self.duplicates.add(result.prompt_id)
        if result.error is not None and len(self.errors) < SHOWN_ERRORS:
            file = "" if result.file is None else f"{result.file} "
            self.errors.append(f"{file}line {result.number}: {result.error}")

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
        """The first errors, and how many more there are."""
        more = self.invalid - len(self.errors)
        return [*self.errors, *([f"… and {more:,} more; --receipts lists all"] if more else [])]
