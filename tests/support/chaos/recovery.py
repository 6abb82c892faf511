"""How long a stage stands still after a fault. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import ceil, inf
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from support.chaos.faults import Fault
from support.chaos.tables import TOPIC_OF
from support.chaos.topic_log import DEAD_LETTERS, INPUTS, OUTPUTS, Seen

Times: TypeAlias = npt.NDArray[np.float64]
"""Two columns, one row a record: when it arrived, and when it was settled (infinite: never)."""

StoredAt: TypeAlias = Callable[[str, int, int], float]
"""When the message of this topic (short name), partition and offset was stored."""


@dataclass(frozen=True, slots=True)
class Recovery:
    """The time from a fault on, in seconds.

    Attributes:
        first_s: until the stage settled its next record, anywhere.
        all_s: until every partition in which work was waiting had settled one.
    """

    fault: Fault
    stage: str
    first_s: float
    all_s: float


def times_of_stages(messages: Collection[Seen], stored_at: StoredAt) -> dict[str, list[Times]]:
    """For each stage, the times of its records by partition."""
    times = {stage: _of_stage(stage, messages) for stage in INPUTS}
    return times | {"store": _of_store(messages, stored_at)}


def _of_stage(stage: str, messages: Collection[Seen]) -> list[Times]:
    settled: dict[str | None, float] = {}
    for message in messages:
        is_dead_letter = message.topic == DEAD_LETTERS and message.stage == stage
        if message.topic in OUTPUTS[stage] or is_dead_letter:
            settled.setdefault(message.prompt_id, message.at_ms / 1000)
    spans: dict[int, list[tuple[float, float]]] = defaultdict(list)
    for message in messages:
        if message.topic == INPUTS[stage]:
            done = settled.get(message.prompt_id, inf)
            spans[message.partition].append((message.at_ms / 1000, done))
    return [np.array(pairs) for pairs in spans.values()]


def _of_store(messages: Collection[Seen], stored_at: StoredAt) -> list[Times]:
    spans: dict[int, list[tuple[float, float]]] = defaultdict(list)
    for message in messages:
        if message.topic in TOPIC_OF.values():
            done = stored_at(message.topic, message.partition, message.offset)
            spans[message.partition].append((message.at_ms / 1000, done))
    return [np.array(pairs) for pairs in spans.values()]


def recovery(fault: Fault, times: Mapping[str, Sequence[Times]]) -> Recovery | None:
    """From this fault, at the stage that it touched, or at the slowest for a server's fault.

    Returns:
        ``None`` when no work was waiting, or none of it was settled since.
    """
    found = []
    for stage in [fault.stage] if fault.stage else list(times):
        waits = [wait for spans in times[stage] if (wait := _wait(spans, fault.at)) < inf]
        if waits:
            found.append(Recovery(fault, stage, min(waits), max(waits)))
    return max(found, key=lambda each: each.all_s, default=None)


def _wait(spans: Times, at: float) -> float:
    arrived, settled = spans[:, 0], spans[:, 1]
    waiting = settled[(arrived <= at) & (settled > at)]
    return float(waiting.min() - at) if waiting.size else inf


def quantile(values: Iterable[float], share: float) -> float:
    """The smallest value that is not below this share of them; nan of none."""
    ordered = sorted(values)
    return ordered[max(0, ceil(share * len(ordered)) - 1)] if ordered else float("nan")
