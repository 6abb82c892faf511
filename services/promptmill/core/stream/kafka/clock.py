"""This machine's clock, compared with the time at which a broker has appended a message."""

from __future__ import annotations

import time
from typing import Any

from promptmill.core.errors import Misconfigured

MAX_SKEW_S = 3600.0
"""Far beyond what NTP leaves, far below what retention or a person would notice."""

LOG_APPEND_TIME = 1
wall_clock = time.time


def check_clock(topic: str, acknowledged: Any, waited_s: float) -> None:
    """Compare an acknowledgement's append time with ours.

    Args:
        acknowledged: the producer's ``RecordMetadata``. Only topics with
            ``message.timestamp.type=LogAppendTime`` say when they have appended.
        waited_s: since the message was handed to the producer; it may have been appended at any
            moment of this, also of one in which this process was stopped.

    Raises:
        Misconfigured: the clocks are more than an hour apart. The message is on the topic.
    """
    if getattr(acknowledged, "timestamp_type", None) != LOG_APPEND_TIME:
        return
    now, appended = wall_clock(), acknowledged.timestamp / 1000
    ahead_s = max(0.0, appended - now) or min(0.0, appended - (now - waited_s))
    if abs(ahead_s) > MAX_SKEW_S:
        side = "ahead of" if ahead_s > 0 else "behind"
        raise Misconfigured(
            f"the clock of the broker that leads {topic} is {abs(ahead_s) / 3600:.1f} h {side} "
            "this machine's: retention follows the broker's clock and would delete messages too "
            "early or too late; correct the wrong clock (NTP), then start again"
        )
