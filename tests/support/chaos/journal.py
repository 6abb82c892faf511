"""What a campaign has done so far, on disk, so that it can be continued."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import orjson

from support.chaos.faults import Fault
from support.chaos.recovery import Recovery


@dataclass(slots=True)
class Journal:
    """One campaign.

    Attributes:
        published: prompts, by number from 0 on.
        strikes: faults that were drawn.
        faults: those of closed sessions: kind, victim, stage, at, until, detail, and the time of
            the recovery (``first_s``, ``all_s``, ``slowest`` stage) where there was one.
        current: those of the session that is open.
        sessions: seconds of each.
        current_s: seconds of the session that is open, or that was cut off.
    """

    file: Path
    seed: int
    published: int = 0
    strikes: int = 0
    faults: list[dict[str, Any]] = field(default_factory=list)
    current: list[dict[str, Any]] = field(default_factory=list)
    sessions: list[float] = field(default_factory=list)
    current_s: float = 0.0

    @classmethod
    def open(cls, file: Path, seed: int) -> Journal:
        """The journal in this file, or a new one.

        Raises:
            ValueError: it is of another seed.
        """
        if not file.exists():
            file.parent.mkdir(parents=True, exist_ok=True)
            return cls(file, seed)
        journal = cls(file, **orjson.loads(file.read_bytes()))
        if journal.seed != seed:
            raise ValueError(f"{file} is of seed {journal.seed}, not {seed}; use another --home")
        journal.faults += journal.current  # that session did not come to its end
        journal.current = []
        if journal.current_s:
            journal.sessions.append(journal.current_s)
            journal.current_s = 0.0
        return journal

    @property
    def kills(self) -> int:
        """Worker processes that were killed so far."""
        done = (*self.faults, *self.current)
        return sum(fault["kind"] in ("sigkill", "point") for fault in done)

    def note(self, faults: Iterable[Fault], seconds: float) -> None:
        """These are the faults and the duration of the open session so far."""
        self.current = [asdict(fault) for fault in faults]
        self.current_s = seconds

    def save(self) -> None:
        """Write it; a crash leaves the old one."""
        values = {name: value for name, value in asdict(self).items() if name != "file"}
        fresh = self.file.with_suffix(".new")
        fresh.write_bytes(orjson.dumps(values, option=orjson.OPT_INDENT_2))
        fresh.replace(self.file)

    def close_session(
        self, faults: Iterable[tuple[Fault, Recovery | None]], seconds: float
    ) -> None:
        """Add what one session did."""
        for fault, found in faults:
            self.faults.append(asdict(fault) | (_times(found) if found else {}))
        self.current = []
        self.current_s = 0.0
        self.sessions.append(seconds)
        self.save()


def _times(found: Recovery) -> dict[str, Any]:
    return {"first_s": found.first_s, "all_s": found.all_s, "slowest": found.stage}
