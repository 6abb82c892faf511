"""Published prompts as a test wants them; see ``promptmill.cli.publish.published``."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from promptmill.cli.publish.id_set import IdSet


class KnownPrompts(IdSet):
    """What is published already.

    Attributes:
        stored: ids that are known once they are looked up.
        looked_up: the ids of each look-up.
    """

    def __init__(self, ids: Iterable[str] = ()) -> None:
        super().__init__(ids)
        self.looked_up: list[list[str]] = []
        self.stored: set[str] = set()

    async def look_up(self, ids: Sequence[str]) -> None:
        """Learn which of these are stored."""
        self.looked_up.append(list(ids))
        self.update(self.stored & set(ids))
