"""Fault points: named places where a test may end, freeze or fail the process.

They do nothing unless ``PROMPTMILL_FAULTS`` is set, for example to
``publish.acknowledged=kill@0.01,commit.sent=kill#3``: at the point ``publish.acknowledged``
kill the process with a chance of 1 %, and at the third passage of ``commit.sent``.
``PROMPTMILL_FAULT_SEED`` makes the chances repeatable.

==========================  =================================================================
``work.begin``              a record has its slot; nothing is done
``publish.begin``           its outcome is known; nothing is sent
``publish.acknowledged``    the outcome is on its topic; the offset is not finished
``commit.begin``            offsets are about to be committed
``commit.acknowledged``     the coordinator has them; the tracker does not know
``revoke.begin``            partitions are leaving; nothing of that is handled
``revoke.committed``        what was done is committed; the lanes are not closed
``assign.begin``            partitions arrive; no lane is open
``filter.claimed``          the decision is claimed; nothing is published
``store.*``                 the steps of a store commit; see :mod:`promptmill.store`
==========================  =================================================================

Actions: ``kill`` (SIGKILL), ``stop`` (SIGSTOP; the test sends SIGCONT), ``fail`` (a
:class:`~promptmill.runtime.errors.Transient`).
"""

from __future__ import annotations

import os
import random
import re
import signal
from dataclasses import dataclass, field

from promptmill.runtime.errors import Misconfigured, Transient

_RULE = re.compile(r"^([a-z_.]+)=(kill|stop|fail)(?:@(\d*\.?\d+)|#(\d+))?$")


@dataclass(slots=True)
class _Rule:
    action: str
    chance: float | None
    nth: int | None
    passages: int = 0
    random: random.Random = field(default_factory=random.Random)

    def strikes(self) -> bool:
        self.passages += 1
        if self.nth is not None:
            return self.passages == self.nth
        return self.chance is None or self.random.random() < self.chance


def parse_rules(text: str, seed: str = "") -> dict[str, _Rule]:
    """The rules of ``PROMPTMILL_FAULTS``.

    Raises:
        Misconfigured: a rule cannot be read.
    """
    rules = {}
    for part in filter(None, text.split(",")):
        if not (found := _RULE.match(part.strip())):
            raise Misconfigured(
                f"PROMPTMILL_FAULTS has {part!r}: a rule is point=kill|stop|fail, optionally "
                "followed by @probability or #passage; unset the variable outside of tests"
            )
        point, action, chance, nth = found.groups()
        rules[point] = _Rule(
            action,
            float(chance) if chance else None,
            int(nth) if nth else None,
            random=random.Random(f"{seed}:{point}") if seed else random.Random(),  # noqa: S311 - no secret
        )
    return rules


_rules = parse_rules(
    os.environ.get("PROMPTMILL_FAULTS", ""), os.environ.get("PROMPTMILL_FAULT_SEED", "")
)


def fault_point(point: str) -> None:
    """The process passes this point; see the module's table."""
    if _rules and (rule := _rules.get(point)) is not None and rule.strikes():
        _strike(rule.action, point)


def _strike(action: str, point: str) -> None:
    if action == "fail":
        raise Transient(f"the fault point {point} is set to fail")
    os.kill(os.getpid(), signal.SIGKILL if action == "kill" else signal.SIGSTOP)
