"""Tokens for SASL OAUTHBEARER, from a command.

The command prints either a token or a JSON object with ``access_token`` and optionally
``expires_in`` in seconds, like the response of an OAuth server. It runs again when a connection is
opened after most of the token's lifetime. It gets no input, and its output is never logged.
"""

from __future__ import annotations

import asyncio
import base64
import json
import shlex
import time
from collections.abc import Callable
from functools import lru_cache
from typing import Any, Final, NamedTuple

from aiokafka.abc import AbstractTokenProvider
from aiokafka.errors import KafkaConnectionError

from promptmill.runtime.errors import Misconfigured

COMMAND_WITHIN_S: Final = 30.0
_SHARE: Final = 0.8
"""The share of a token's lifetime after which a new connection gets another one."""


class _Token(NamedTuple):
    text: str
    until: float


class CommandTokens(AbstractTokenProvider):  # type: ignore[misc]  # the library has no types
    """A provider of tokens for aiokafka, which runs a command.

    Args:
        command: the command with its arguments; it is not run by a shell.
        extensions: the extensions that are sent with each token.
        now: returns the time in seconds since the epoch.
    """

    def __init__(
        self,
        command: list[str],
        extensions: dict[str, str],
        now: Callable[[], float] = time.time,
    ) -> None:
        self._command = command
        self._extensions = extensions
        self._now = now
        self._token = _Token("", 0.0)

    async def token(self) -> str:
        """Return a token that has not expired.

        Raises:
            KafkaConnectionError: the command fails, or prints no token; retriable.
        """
        if self._now() >= self._token.until:
            self._token = self._parsed(await self._printed())
        return self._token.text

    def extensions(self) -> dict[str, str]:
        """Return the extensions."""
        return self._extensions

    async def _printed(self) -> str:
        try:
            process = await asyncio.create_subprocess_exec(
                *self._command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.DEVNULL,
            )
        except OSError as error:
            raise self._failed(f"cannot be run: {error}") from None
        try:
            async with asyncio.timeout(COMMAND_WITHIN_S):
                printed, _ = await process.communicate()
        except TimeoutError:
            process.kill()
            await process.wait()
            raise self._failed(f"did not end within {COMMAND_WITHIN_S:g} s") from None
        if process.returncode:
            raise self._failed(f"ended with exit status {process.returncode}")
        return printed.decode("utf-8", "replace").strip()

    def _parsed(self, printed: str) -> _Token:
        answer: Any = None
        try:
            answer = json.loads(printed)
        except ValueError:
            answer = {"access_token": printed}
        text = answer.get("access_token") if isinstance(answer, dict) else None
        if not isinstance(text, str) or not text or not text.isascii() or len(text.split()) != 1:
            raise self._failed("printed neither a token nor JSON with access_token")
        seconds = answer.get("expires_in")
        if not isinstance(seconds, int | float):
            seconds = max(0.0, (_expiry(text) or 0.0) - self._now())
        return _Token(text, self._now() + _SHARE * seconds)

    def _failed(self, how: str) -> KafkaConnectionError:
        return KafkaConnectionError(
            f"the command of PROMPTMILL_KAFKA_SASL_OAUTHBEARER_TOKEN_COMMAND {how} "
            f"({self._command[0]}); run it by hand to see why"
        )


def token_provider(command: str, extensions: str = "") -> CommandTokens:
    """Return the provider of a command's tokens, which all clients of the process share.

    Args:
        command: the command as typed in a shell, without operators.
        extensions: ``name=value[,name=value…]``.

    Raises:
        Misconfigured: the command or an extension cannot be parsed.
    """
    return _shared(command, extensions)


@lru_cache(maxsize=8)
def _shared(command: str, extensions: str) -> CommandTokens:
    try:
        arguments = shlex.split(command)
    except ValueError as error:
        raise Misconfigured(
            f"PROMPTMILL_KAFKA_SASL_OAUTHBEARER_TOKEN_COMMAND is not a command ({error})"
        ) from None
    pairs = [pair.partition("=") for pair in extensions.split(",") if pair.strip()]
    if not arguments or any(not equals for _, equals, _ in pairs):
        raise Misconfigured(
            "PROMPTMILL_KAFKA_SASL_OAUTHBEARER_EXTENSIONS must be name=value[,name=value…], and "
            "the token command must not be empty"
        )
    return CommandTokens(arguments, {name.strip(): value.strip() for name, _, value in pairs})


def _expiry(token: str) -> float | None:
    """Return the time at which a JSON Web Token expires; ``None`` for any other token."""
    try:
        claims = token.split(".")[1]
        decoded = json.loads(base64.urlsafe_b64decode(claims + "=" * (-len(claims) % 4)))
        return float(decoded["exp"])
    except (ValueError, TypeError, KeyError, IndexError):
        return None
