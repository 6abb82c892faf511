"""The run counts that commands read from the store's tables."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Final, Protocol

CUSTOM_ID: Final = "custom_id"
"""The tag that keeps the user's own id of a prompt."""

FEW_IDS: Final = 1_000
"""So many ids may be named in a query of a table; it then costs as much as a query for one."""


@dataclass(frozen=True, slots=True)
class OutcomeCounts:
    """The number of a run's prompts by outcome; no prompt has two outcomes."""

    accepted: int = 0
    rejected: int = 0
    dead: int = 0

    @property
    def total(self) -> int:
        """All settled prompts."""
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
        """The first offset of the topic ``prompts`` that the table lacks, by partition."""

    def has_none(self, run: str) -> bool:
        """Whether the table certainly holds no prompt of the run; reads no row."""

    def prompt_ids(self, run: str, among: Collection[str] | None = None) -> Iterator[list[str]]:
        """The ids of the run's prompts in the table, in batches; some may come twice.

        Args:
            among: only those of these ids.
        """

    def published(self, run: str) -> StoredPrompts:
        """The number of the run's prompts in the table."""

    def stored(self, run: str, ids: Collection[str]) -> set[str]:
        """Those of these ids of the run that are in the table."""

    def settled(self, run: str) -> OutcomeCounts:
        """The number of the run's prompts by outcome, without counting a prompt twice."""

    def settled_ids(self, run: str, among: Collection[str] | None = None) -> Iterator[list[str]]:
        """The ids of the run's settled prompts, as :meth:`prompt_ids`."""
