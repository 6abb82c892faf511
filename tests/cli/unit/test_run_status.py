"""The counts of a run while its outcomes and its prompts arrive in any order."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Iterator, Mapping
from pathlib import Path
from typing import cast

from promptmill.cli.addresses import Addresses
from promptmill.cli.counts import OutcomeCounts, StoredPrompts
from promptmill.cli.run_status import StatusReader
from promptmill.cli.settings import CommandSettings
from promptmill.kafka.log_reader import LogReader
from promptmill.stream.lost_records import LogCheck
from promptmill.stream.ports import Delivery, Partition
from promptmill_schemas import Prompt, encode
from support.store import pid, prompt


class Topics:
    """The prompts of partition 0, and groups without a lag."""

    def __init__(self) -> None:
        self.prompts: list[Prompt] = []

    async def read(
        self, topic: str, starts: Mapping[int, int], _check: LogCheck | None = None
    ) -> AsyncIterator[list[Delivery]]:
        """The prompts from the start on."""
        first = starts.get(0, 0)
        for offset, each in enumerate(self.prompts[first:], first):
            yield [Delivery(Partition(topic, 0), offset, None, encode(each))]

    async def lags(self, groups: Mapping[str, Collection[str]]) -> dict[str, int]:
        """None of any group."""
        return dict.fromkeys(groups, 0)


class Tables:
    """Accepted prompts, and no rows of published ones."""

    def __init__(self) -> None:
        self.accepted: list[str] = []

    def next_prompt_offsets(self) -> dict[int, int]:
        """The table has read nothing."""
        return {}

    def has_none(self, run: str) -> bool:
        """It holds no prompt."""
        return True

    def prompt_ids(
        self,
        run: str,
        among: Collection[str] | None = None,
    ) -> Iterator[list[str]]:
        """It holds no prompt."""
        return iter(())

    def published(self, run: str) -> StoredPrompts:
        """It holds no prompt."""
        return StoredPrompts(0, {})

    def stored(self, run: str, ids: Collection[str]) -> set[str]:
        """It holds no prompt."""
        return set()

    def settled(self, run: str) -> OutcomeCounts:
        """The accepted prompts."""
        return OutcomeCounts(accepted=len(self.accepted))

    def settled_ids(
        self,
        run: str,
        among: Collection[str] | None = None,
    ) -> Iterator[list[str]]:
        """The accepted prompts."""
        return iter([self.accepted])


async def test_a_prompt_that_is_published_after_its_outcome_is_not_pending(tmp_path: Path) -> None:
    topics, tables = Topics(), Tables()
    addresses = Addresses("", "", str(tmp_path))
    reader = StatusReader(CommandSettings(), addresses, tables, cast("LogReader", topics), "test")
    tables.accepted = [pid("a"), pid("foreign")]
    assert (await reader.read()).settled
    topics.prompts += [prompt("a"), prompt("b")]
    status = await reader.read()
    assert (status.published, status.accepted, status.pending) == (3, 2, 1)
    tables.accepted.append(pid("b"))
    assert (await reader.read()).settled
