"""What ``publish`` says at its end."""

from __future__ import annotations

from dataclasses import dataclass, field

from promptmill.gateway.publishing import LineResult

SHOWN_ERRORS = 20


@dataclass(slots=True)
class Summary:
    """Counts by outcome, and the first errors."""

    run: str
    published: int = 0
    duplicate: int = 0
    invalid: int = 0
    errors: list[str] = field(default_factory=list)

    def add(self, result: LineResult) -> None:
        """Count one line."""
        setattr(self, result.outcome, getattr(self, result.outcome) + 1)
        if result.error is not None and len(self.errors) < SHOWN_ERRORS:
            self.errors.append(f"line {result.number}: {result.error}")

    def as_json(self) -> dict[str, str | int]:
        """What ``publish --json`` prints."""
        return {
            "run": self.run,
            "published": self.published,
            "duplicate": self.duplicate,
            "invalid": self.invalid,
        }

    def counts(self) -> str:
        """The counts in words."""
        parts = [f"{self.published:,} published"]
        if self.duplicate:
            parts.append(f"{self.duplicate:,} published before")
        if self.invalid:
            parts.append(f"{self.invalid:,} invalid")
        return ", ".join(parts)

    def error_lines(self) -> list[str]:
        """The first errors, and how many more there are."""
        more = self.invalid - len(self.errors)
        return [*self.errors, *([f"… and {more:,} more, all in the --receipts"] if more else [])]
