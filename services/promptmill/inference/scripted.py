"""Engines without a model, for tests and load runs only.

Every message that they produce names the engine ``scripted``.
"""

from __future__ import annotations

import asyncio
import math
import os
import signal
import uuid
from collections import Counter
from dataclasses import dataclass, fields
from random import Random

from promptmill.inference.ports import Answer, GenerateRequest, GradeRequest, GraderInfo
from promptmill.runtime.errors import EngineDead, Misconfigured, Poison, Transient
from promptmill_schemas import ATTRIBUTES, AttributeScores, Generator

__all__ = ["Script", "ScriptedGenerator", "ScriptedGrader", "read_script"]

KILLER_MARK = "[engine killer]"

VOCABULARY = """
a and are as at because but by can do first for from good has have how in into is it last
many more most new no not of on one only or other our over part people seven since some
than that the their then there these they this time to two under use was water way we were
what when where which who will with without words would year yes you
"""


@dataclass(frozen=True, slots=True)
class Script:
    """The behaviour of a scripted engine.

    ``transient``, ``poison``, ``hang``, ``dead`` and ``nan`` are probabilities from 0 to 1.

    Attributes:
        seed: requests with the same seed behave identically.
        latency_s: median duration of a request, in seconds.
        sigma: sigma of the log-normal latency; 0 gives every request the same latency.
        tokens: median length of an answer, in words.
        context: maximum length of a conversation, in words.
        transient: an attempt fails, and another attempt may succeed.
        poison: every attempt of the request fails.
        hang: the request never returns.
        dead: the request ends the engine.
        killer: what a conversation with the text ``[engine killer]`` does after its latency:
            1 ends the engine; 2 kills the process, as a segmentation fault does.
        nan: the grader's score is not a number.
        fresh: 1 gives different answers each time, like a model that ignores seeds.
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
    """Parse a script from ``name=value,name=value``; other settings keep their defaults.

    Raises:
        Misconfigured: a name is unknown, or a value is not a number of the right type.
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
    """Executes a script: delays requests, and lets them fail."""

    def __init__(self, script: Script) -> None:
        self.script = script
        self._attempts: Counter[str] = Counter()
        self._dead = False

    def draws(self, *key: object) -> Random:
        """A random generator for this key, which is the same in every process."""
        return Random(repr((self.script.seed, *key)))  # noqa: S311 - a simulation

    async def play(self, key: str, *texts: str) -> None:
        """Wait for the latency of a request, then raise its fault if it has one.

        Args:
            key: identifies the request.
            texts: the texts of the conversation.

        Raises:
            Transient, Poison, EngineDead: the script demands it for this key and attempt.
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


class ScriptedGenerator:
    """Answers with random words, which the request's seed determines."""

    def __init__(self, script: Script) -> None:
        self._player = Player(script)

    @property
    def info(self) -> Generator:
        """The generator's identity."""
        return Generator(engine="scripted", model="scripted", revision=_revision(self._player))

    @property
    def context_tokens(self) -> int:
        """Maximum length of a conversation, in words."""
        return self._player.script.context

    @property
    def tokenizer(self) -> str:
        """Empty, because there is no tokenizer."""
        return ""

    async def start(self) -> None:
        """Do nothing, because there is no model to load."""

    async def generate(self, request: GenerateRequest) -> Answer:
        """Return random words after the script's latency, or raise one of the script's faults."""
        texts = [message.content for message in request.messages]
        prompt_tokens = _words(self._player, *texts)
        await self._player.play(request.request_id, *texts)
        script, limit = self._player.script, request.sampling.max_tokens
        nonce = uuid.uuid4().hex if script.fresh else ""
        draws = self._player.draws("answer", request.seed, nonce)
        wanted = max(1, round(draws.lognormvariate(0.0, 0.5) * script.tokens))
        words = draws.choices(VOCABULARY.split(), k=min(wanted, limit))
        return Answer(
            text=" ".join(words),
            finish_reason="stop" if wanted <= limit else "length",
            prompt_tokens=prompt_tokens,
            completion_tokens=len(words),
            logprob=-2.0 * len(words) if request.sampling.logprobs else None,
        )

    async def close(self) -> None:
        """Do nothing, because there is nothing to release."""


class ScriptedGrader:
    """Gives scores that depend only on the texts and the script's seed."""

    def __init__(self, script: Script) -> None:
        self._player = Player(script)

    @property
    def info(self) -> GraderInfo:
        """The grader's identity."""
        return GraderInfo("scripted", "scripted", _revision(self._player))

    @property
    def context_tokens(self) -> int:
        """Maximum length of a conversation, in words."""
        return self._player.script.context

    async def start(self) -> None:
        """Do nothing, because there is no model to load."""

    async def grade(self, request: GradeRequest) -> AttributeScores:
        """Return normally distributed scores from 0 to 4, with a mean of 2, after the latency."""
        texts = (*(message.content for message in request.messages), request.answer)
        _words(self._player, *texts)
        await self._player.play(request.request_id, *texts)
        draws = self._player.draws("scores", *texts)
        if draws.random() < self._player.script.nan:
            raise Poison("the script makes helpfulness nan: a score must be a finite number")
        return AttributeScores(
            **{name: min(4.0, max(0.0, draws.gauss(2, 1))) for name in ATTRIBUTES}
        )

    async def close(self) -> None:
        """Do nothing, because there is nothing to release."""


def _words(player: Player, *texts: str) -> int:
    """The number of words; raises ``Poison`` if they exceed the context."""
    words, limit = sum(len(text.split()) for text in texts), player.script.context
    if words > limit:
        raise Poison(
            f"messages have {words} words, the script's context holds {limit}; shorten the "
            "conversation"
        )
    return words


def _revision(player: Player) -> str:
    return f"seed-{player.script.seed}"
