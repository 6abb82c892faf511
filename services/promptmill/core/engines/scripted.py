"""Engines without a model, for tests and load runs only; their name stands on what they make."""

from __future__ import annotations

import uuid

from promptmill.core.engines.base import Answer, GenerateRequest, GradeRequest, GraderInfo
from promptmill.core.engines.script import Player, Script, read_script
from promptmill.core.errors import Poison
from promptmill_schemas import ATTRIBUTES, AttributeScores, Generator

__all__ = ["Script", "ScriptedGenerator", "ScriptedGrader", "read_script"]

VOCABULARY = """
a and are as at because but by can do first for from good has have how in into is it last
many more most new no not of on one only or other our over part people seven since some
than that the their then there these they this time to two under use was water way we were
what when where which who will with without words would year yes you
"""


class ScriptedGenerator:
    """Answers with words drawn by the request's seed."""

    def __init__(self, script: Script) -> None:
        self._player = Player(script)

    @property
    def info(self) -> Generator:
        """What answers."""
        return Generator(engine="scripted", model="scripted", revision=_revision(self._player))

    @property
    def context_tokens(self) -> int:
        """Longest conversation, in words."""
        return self._player.script.context

    @property
    def tokenizer(self) -> str:
        """There is none."""
        return ""

    async def start(self) -> None:
        """Nothing to load."""

    async def generate(self, request: GenerateRequest) -> Answer:
        """Words, after the time that the script gives; see the script for failures."""
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
        """Nothing to free."""


class ScriptedGrader:
    """Scores that depend on nothing but the texts and the script's seed."""

    def __init__(self, script: Script) -> None:
        self._player = Player(script)

    @property
    def info(self) -> GraderInfo:
        """What grades."""
        return GraderInfo("scripted", "scripted", _revision(self._player))

    @property
    def context_tokens(self) -> int:
        """Longest conversation, in words."""
        return self._player.script.context

    async def start(self) -> None:
        """Nothing to load."""

    async def grade(self, request: GradeRequest) -> AttributeScores:
        """Scores around 2 between 0 and 4, after the time that the script gives."""
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
        """Nothing to free."""


def _words(player: Player, *texts: str) -> int:
    """The conversation's length; raises ``Poison`` when the context does not take it."""
    words, limit = sum(len(text.split()) for text in texts), player.script.context
    if words > limit:
        raise Poison(
            f"messages have {words} words, the script's context holds {limit}; shorten the "
            "conversation"
        )
    return words


def _revision(player: Player) -> str:
    return f"seed-{player.script.seed}"
