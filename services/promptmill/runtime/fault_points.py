"""Fault points: named places in the code where a test can kill, freeze or fail the process.

They do nothing unless ``PROMPTMILL_FAULTS`` is set. For example,
``publish.acknowledged=kill@0.01,commit.begin=kill#3`` kills the process with a probability of 1 %
at ``publish.acknowledged``, and at the third passage of ``commit.begin``.
``PROMPTMILL_FAULT_SEED`` makes the random choices repeatable.

==========================  =================================================================
``work.begin``              a record has a slot; its work has not begun
``publish.begin``           its outcome is known; nothing is sent
``publish.acknowledged``    the outcome is acknowledged; the offset is not finished
``commit.begin``            offsets are about to be committed
``commit.acknowledged``     the commit is acknowledged; the tracker is not updated
``revoke.begin``            partitions are being revoked; nothing is handled yet
``revoke.committed``        finished records are committed; the partitions are still open
``assign.begin``            partitions are assigned; none is open yet
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
    """Return the rules of ``PROMPTMILL_FAULTS``.

    Raises:
        Misconfigured: a rule is invalid.
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
    """Apply the rule for this point, if there is one; see the table of the module."""
    if _rules and (rule := _rules.get(point)) is not None and rule.strikes():
        _strike(rule.action, point)


def _strike(action: str, point: str) -> None:
    if action == "fail":
        raise Transient(f"the fault point {point} is set to fail")
    os.kill(os.getpid(), signal.SIGKILL if action == "kill" else signal.SIGSTOP)
