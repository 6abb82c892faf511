"""What the store's tables say about a run, as far as commands need it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Settled:
    """How many prompts of a run have each outcome; no prompt has two."""

    accepted: int = 0
    rejected: int = 0
    dead: int = 0

    @property
    def total(self) -> int:
        """All settled prompts."""
        return self.accepted + self.rejected + self.dead


@dataclass(frozen=True, slots=True)
class Published:
    """A run's prompts in the table, at one version of it.

    Attributes:
        next_offsets: by partition of the topic ``prompts``: the first offset that the table lacks.
        partitions: of the layout, 0 while there is no table; those beyond were added later.
    """

    prompts: int
    next_offsets: Mapping[int, int]
    partitions: int = 0


class Books(Protocol):
    """The tables ``prompts``, ``records``, ``rejects`` and ``dead_letters``; calls block."""

    def next_prompt_offsets(self) -> dict[int, int]:
        """By partition of the topic ``prompts``: the first offset that is not in the table."""

    def prompt_ids(self, run: str) -> set[str]:
        """The prompts of the run that are in the table."""

    def published(self, run: str) -> Published:
        """How many of the run's prompts are in the table."""

    def stored(self, run: str, ids: Collection[str]) -> set[str]:
        """Those of these prompts of the run that are in the table."""

    def settled(self, run: str) -> Settled:
        """The outcomes of the run's prompts, never more than have one."""

    def settled_ids(self, run: str) -> set[str]:
        """The run's prompts that are accepted, rejected or dead."""
