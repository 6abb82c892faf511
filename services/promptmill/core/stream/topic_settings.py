"""The settings of topics without which messages are lost, and what to do about others."""

from __future__ import annotations

from typing import Final

TIMESTAMP_TYPE: Final = "message.timestamp.type"
APPEND_TIME: Final = "LogAppendTime"

SAFE_SETTINGS: Final = {
    "cleanup.policy": "delete",
    "retention.bytes": "-1",
    "unclean.leader.election.enable": "false",
}
"""Compaction and a limit of bytes delete what nobody has read; so does a leader that was not
in step."""

WANTED_SETTINGS: Final = {**SAFE_SETTINGS, TIMESTAMP_TYPE: APPEND_TIME}
"""With the broker's own times, a producer whose clock is wrong cannot make messages that are
too old to be kept, or never old enough to be deleted."""


def remedy(bootstrap: str, topic: str, setting: str, wanted: str) -> str:
    """How to mend one setting of an existing topic."""
    return (
        "correct it with `promptmill topics --mend`, or with `kafka-configs --bootstrap-server "
        f"{bootstrap} --alter --entity-type topics --entity-name {topic} --add-config "
        f"{setting}={wanted}`"
    )
