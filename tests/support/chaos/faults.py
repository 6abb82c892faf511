"""What was done to the pipeline, and when."""

from __future__ import annotations

import time
from dataclasses import dataclass, field


@dataclass(slots=True)
class Fault:
    """One disturbance.

    Attributes:
        kind: ``sigkill``, ``sigterm``, ``freeze``, ``point`` (a named fault point killed the
            process), ``join``, ``broker-kill`` …
        victim: the worker's or the server's name.
        stage: of the worker; empty for servers, which every stage feels.
        at: seconds since the epoch.
        until: when the disturbance itself ended (a frozen process goes on, a server is back).
        detail: what else a report should say.
    """

    kind: str
    victim: str
    stage: str = ""
    at: float = field(default_factory=time.time)
    until: float | None = None
    detail: str = ""

    @property
    def is_kill(self) -> bool:
        """Whether a worker's process ended without having been asked."""
        return self.kind in ("sigkill", "point")


class FaultLog:
    """Every fault of a run, in order."""

    def __init__(self) -> None:
        self.faults: list[Fault] = []

    def add(self, kind: str, victim: str, stage: str = "", detail: str = "") -> Fault:
        """A fault that happens now."""
        fault = Fault(kind, victim, stage, detail=detail)
        self.faults.append(fault)
        return fault

    @property
    def kills(self) -> int:
        """Worker processes that were killed."""
        return sum(fault.is_kill for fault in self.faults)

    def of(self, *stages: str) -> list[Fault]:
        """Those that touched workers of these stages, or servers."""
        return [fault for fault in self.faults if fault.stage in ("", *stages)]
