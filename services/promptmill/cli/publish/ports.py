"""What a publisher reports of a line, and what it needs from others."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, NamedTuple, Protocol

from promptmill_schemas import ContractError


class LineResult(NamedTuple):
    """What became of a line.

    Attributes:
        prompt_id: of a prompt that is now on the topic, or was there before.
        error: why the line is invalid.
        file: where the line is, if more than one file is read.
    """

    number: int
    outcome: Literal["published", "duplicate", "invalid"]
    prompt_id: str | None = None
    error: ContractError | None = None
    file: str | None = None


class Known(Protocol):
    """The part of :class:`~promptmill.cli.publish.published.PublishedPrompts` needed here."""

    async def look_up(self, ids: Sequence[str]) -> None:
        """Learn which of these are published, before they are added."""

    def __contains__(self, identity: str) -> bool:
        """Whether it is published, or was added."""

    def add(self, prompt_id: str) -> bool:
        """``False`` when it is published already."""

    def discard(self, prompt_id: str) -> None:
        """It is not published after all."""


class Room(Protocol):
    """The part of :class:`~promptmill.cli.publish.admission.Backpressure` that is needed here."""

    @property
    def left(self) -> float:
        """Prompts that may be sent now."""

    def sent(self, size: int) -> None:
        """One more is on its way."""

    async def refresh(self) -> None:
        """Look again, if it is time."""

    async def wait(self) -> None:
        """Return when there is room."""


class Unlimited:
    """There is always room."""

    left = math.inf

    def sent(self, size: int) -> None:
        """Nothing is counted."""

    async def refresh(self) -> None:
        """Nothing is looked at."""

    async def wait(self) -> None:
        """Nothing is waited for."""
