"""Work that was done twice. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from support.chaos.topic_log import Seen


class Repetition(NamedTuple):
    """A prompt whose message stands on a topic more than once.

    Attributes:
        first_s, again_s: when each was appended, seconds since the epoch.
    """

    prompt_id: str | None
    first_s: float
    again_s: float


def repetitions(messages: Iterable[Seen], topic: str) -> list[Repetition]:
    """Every message beyond the first of its prompt."""
    first: dict[str | None, float] = {}
    found = []
    for message in messages:
        if message.topic != topic:
            continue
        at = message.at_ms / 1000
        if message.prompt_id in first:
            found.append(Repetition(message.prompt_id, first[message.prompt_id], at))
        else:
            first[message.prompt_id] = at
    return found
