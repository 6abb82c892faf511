"""The result of a line, and the ports that a publisher uses."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, NamedTuple, Protocol

from promptmill_schemas import ContractError


class LineResult(NamedTuple):
    """The result of publishing a line.

    Attributes:
        prompt_id: the id of the line's prompt, if it is on the topic now or was published before.
        error: the reason why the line is invalid.
        file: the line's file, if more than one file is read.
    """

    number: int
    outcome: Literal["published", "duplicate", "invalid"]
    prompt_id: str | None = None
    error: ContractError | None = None
    file: str | None = None


class Known(Protocol):
    """The part of :class:`~promptmill.cli.publish.published.PublishedPrompts` used here."""

    async def look_up(self, ids: Sequence[str]) -> None:
        """Find out which of these ids are published; called before any of them is added."""

    def __contains__(self, identity: str) -> bool:
        """Return whether the prompt is published or was added."""

    def add(self, prompt_id: str) -> bool:
        """Add a prompt; return ``False`` if it is already published."""

    def discard(self, prompt_id: str) -> None:
        """Remove a prompt that was added but not published."""


class Room(Protocol):
    """The part of :class:`~promptmill.cli.publish.admission.Backpressure` that is used here."""

    @property
    def left(self) -> float:
        """The number of prompts that may be sent now."""

    def sent(self, size: int) -> None:
        """Count a prompt that is being sent."""

    async def refresh(self) -> None:
        """Read the lags again if the last reading is too old."""

    async def wait(self) -> None:
        """Wait until there is room."""


class Unlimited:
    """Room without a limit."""

    left = math.inf

    def sent(self, size: int) -> None:
        """Do nothing."""

    async def refresh(self) -> None:
        """Do nothing."""

    async def wait(self) -> None:
        """Return at once."""
