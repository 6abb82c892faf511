"""The run counts that commands read from the store's tables."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Final, Protocol

CUSTOM_ID: Final = "custom_id"
"""The tag that keeps the user's own id of a prompt."""

FEW_IDS: Final = 1_000
"""The number of ids up to which a query for them costs as much as a query for one."""


@dataclass(frozen=True, slots=True)
class OutcomeCounts:
    """The number of a run's prompts by outcome; no prompt has two outcomes."""

    accepted: int = 0
    rejected: int = 0
    dead: int = 0

    @property
    def total(self) -> int:
        """The number of all settled prompts."""
        return self.accepted + self.rejected + self.dead


@dataclass(frozen=True, slots=True)
class StoredPrompts:
    """The prompts of a run in one version of the table.

    Attributes:
        prompts: number of prompts.
        next_offsets: the first offset of the topic ``prompts`` that the table lacks, by partition.
        partitions: size of the partition layout; 0 if there is no table.
    """

    prompts: int
    next_offsets: Mapping[int, int]
    partitions: int = 0


class StoredCounts(Protocol):
    """The tables ``prompts``, ``records``, ``rejects`` and ``dead_letters``; calls block."""

    def next_prompt_offsets(self) -> dict[int, int]:
        """Return the first offset of the topic ``prompts`` that the table lacks, by partition."""

    def has_none(self, run: str) -> bool:
        """Return whether the table certainly holds no prompt of the run, without reading rows."""

    def prompt_ids(self, run: str, among: Collection[str] | None = None) -> Iterator[list[str]]:
        """Yield the ids of the run's prompts in the table in batches; some may occur twice.

        Args:
            among: yield only ids that are among these.
        """

    def published(self, run: str) -> StoredPrompts:
        """Count the run's prompts in the table."""

    def stored(self, run: str, ids: Collection[str]) -> set[str]:
        """Return the given ids that the table holds for this run."""

    def settled(self, run: str) -> OutcomeCounts:
        """Count the run's prompts by outcome; each prompt is counted once."""

    def settled_ids(self, run: str, among: Collection[str] | None = None) -> Iterator[list[str]]:
        """Yield the ids of the run's settled prompts, as :meth:`prompt_ids` does."""
