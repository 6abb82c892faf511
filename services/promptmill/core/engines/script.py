"""What a scripted engine plays: latencies, lengths and faults, all drawn from one seed."""

from __future__ import annotations

import asyncio
import math
import os
import signal
from collections import Counter
from dataclasses import dataclass, fields
from random import Random

from promptmill.core.errors import EngineDead, Misconfigured, Poison, Transient

KILLER_MARK = "[engine killer]"


@dataclass(frozen=True, slots=True)
class Script:
    """Figures of a scripted engine; rates are shares of the requests, 0 to 1.

    Attributes:
        seed: the same seed plays the same.
        latency_s: median time of a request, in seconds.
        sigma: spread of the log-normal latency; 0 makes all alike.
        tokens: median length of an answer.
        context: longest conversation, in words.
        transient: fail, and succeed when tried again (drawn anew for each attempt).
        poison: fail always.
        hang: never return.
        dead: the engine dies of the request.
        killer: what a conversation with the text ``[engine killer]`` does after its latency:
            1 ends the engine, 2 ends the process without a word, as a segmentation fault does.
        nan: the grader's score is not a number.
        fresh: 1 draws other answers each time, as a model without seeds does.
    """

    seed: int = 0
    latency_s: float = 0.02
    sigma: float = 0.5
    tokens: int = 40
    context: int = 4096
    transient: float = 0.0
    poison: float = 0.0
    hang: float = 0.0
    dead: float = 0.0
    killer: int = 0
    nan: float = 0.0
    fresh: int = 0


def read_script(text: str) -> Script:
    """A script from ``name=value,name=value``; what is not named keeps its default.

    Raises:
        Misconfigured: an unknown name, or a value that is not a number of its kind.
    """
    kinds = {field.name: type(field.default) for field in fields(Script)}
    values: dict[str, float] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        name, _, value = part.partition("=")
        if name not in kinds:
            known = ", ".join(kinds)
            raise Misconfigured(
                f"script has no setting {name!r}; use name=value with one of {known}"
            )
        values[name] = _number(name, value, kinds[name])
    return Script(**values)  # type: ignore[arg-type]


def _number(name: str, text: str, kind: type) -> float:
    try:
        value: float = kind(text)
    except ValueError:
        raise Misconfigured(
            f"script's {name} is {text!r}; it must be of type {kind.__name__}"
        ) from None
    if not math.isfinite(value) or value < 0:
        raise Misconfigured(
            f"script's {name} is {text}; it must be a finite number that is not negative"
        )
    return value


class Player:
    """Plays a script: waits as long as it says, and fails where it says."""

    def __init__(self, script: Script) -> None:
        self.script = script
        self._attempts: Counter[str] = Counter()
        self._dead = False

    def draws(self, *key: object) -> Random:
        """A source of its own for each key, the same in every process."""
        return Random(repr((self.script.seed, *key)))  # noqa: S311 - a simulation

    async def play(self, key: str, *texts: str) -> None:
        """One request: its latency, then its fault if it has one.

        Args:
            key: names the request.
            texts: the conversation.

        Raises:
            Transient, Poison, EngineDead: as the script has it for this key and attempt.
        """
        attempt = self._attempts[key]
        self._attempts[key] += 1
        self._require_alive()
        lasting, passing = self.draws("lasting", key), self.draws("passing", key, attempt)
        if lasting.random() < self.script.hang:
            await asyncio.Event().wait()
        await asyncio.sleep(self.script.latency_s * math.exp(self.script.sigma * passing.gauss()))
        self._require_alive()
        is_killer = self.script.killer and any(KILLER_MARK in text for text in texts)
        if is_killer and self.script.killer > 1:
            os.kill(os.getpid(), signal.SIGKILL)
        if lasting.random() < self.script.dead or is_killer:
            self._dead = True
            self._require_alive()
        if lasting.random() < self.script.poison:
            raise Poison(f"the script makes request {key} fail every time")
        if passing.random() < self.script.transient:
            raise Transient(
                f"the script makes attempt {attempt} of request {key} fail; a retry may succeed"
            )
        del self._attempts[key]

    def _require_alive(self) -> None:
        if self._dead:
            raise EngineDead("the scripted engine has died, as its script demands")
