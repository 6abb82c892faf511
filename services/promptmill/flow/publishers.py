"""The registry of publishers, which divides the room on the topic of prompts fairly.

Each publisher asks once a second while it has prompts to send, and is forgotten 5 s after its last
request. The room is divided equally among the runs that ask, and a run's share equally among its
publishers. A run that is published from ten machines gets no more than one from a single file.
"""

from __future__ import annotations

from collections import Counter
from typing import Any, Final

from promptmill.flow.board import FlowKeys, answer_of
from promptmill.runtime.redis_client import connect

ASKING_STANDS_S: Final = 5.0
"""Seconds after which a publisher that does not ask is forgotten."""

WAITS_STAND_MS: Final = 7 * 24 * 3600 * 1000
"""Milliseconds for which the waits are kept after the last wait of any publisher."""

_ASK: Final = """
local time = redis.call('TIME')
local now_ms = time[1] * 1000 + math.floor(time[2] / 1000)
local until_ms = string.format('%.0f', now_ms + ARGV[2])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now_ms)
for _, key in ipairs({KEYS[1], KEYS[2]}) do -- those who asked before the clock was set back
  redis.call('ZREMRANGEBYSCORE', key, '(' .. until_ms, '+inf')
end
redis.call('ZADD', KEYS[1], until_ms, ARGV[1])
redis.call('PEXPIRE', KEYS[1], 2 * ARGV[2])
if ARGV[3] == '1' then
  redis.call('ZADD', KEYS[2], until_ms, ARGV[1])
  redis.call('PEXPIRE', KEYS[2], 2 * ARGV[2])
else
  redis.call('ZREM', KEYS[2], ARGV[1])
end
if ARGV[4] ~= '0' then
  redis.call('HINCRBY', KEYS[3], ARGV[5], ARGV[4])
  redis.call('PEXPIRE', KEYS[3], ARGV[6])
end
return redis.call('ZRANGE', KEYS[1], 0, -1)
"""


class Publishers:
    """One publisher's access to the registry of a pipeline's publishers.

    Args:
        redis_url: URL as for :class:`~promptmill.flow.board.LagBoard`.
        prefix: the prefix of every topic's name.
        run: the run for which this publisher publishes.
        identity: the id of this publisher, which no other live publisher has.
        stands_s: seconds for which a request is valid.
    """

    def __init__(
        self,
        redis_url: str,
        prefix: str,
        run: str,
        identity: str,
        stands_s: float = ASKING_STANDS_S,
    ) -> None:
        self._redis = connect(redis_url)
        self._script = self._redis.register_script(_ASK)
        keys = FlowKeys(prefix)
        self._asking, self._held, self._waits = keys.publishers, keys.held_publishers, keys.waits
        self._run = run
        self._member = f"{run} {identity}"
        self._stands_ms = int(stands_s * 1000)
        self._told_ms = 0

    async def ask(self, *, is_held: bool = False, waited_s: float = 0.0) -> float:
        """Return this publisher's share of the room, above 0 and at most 1.

        Args:
            is_held: whether it waits for room, which ``promptmill status`` shows.
            waited_s: seconds that it has waited since its start.

        Raises:
            Unavailable: Redis does not answer.
        """
        waited_ms = int(waited_s * 1000)
        more_ms = waited_ms - self._told_ms
        arguments: list[str | int] = [self._member, self._stands_ms, int(is_held)]
        arguments += [more_ms, self._run, WAITS_STAND_MS]
        call = self._script(keys=[self._asking, self._held, self._waits], args=arguments)
        members: list[Any] = await answer_of(call, "the other publishers")
        self._told_ms = waited_ms
        runs = Counter(bytes(member).decode().partition(" ")[0] for member in members)
        return 1 / (len(runs) * runs[self._run])

    async def leave(self) -> None:
        """Withdraw from the registry, so that the others share the room.

        Raises:
            Unavailable: Redis does not answer.
        """
        for key in (self._asking, self._held):
            await answer_of(self._redis.zrem(key, self._member), "the other publishers")

    async def close(self) -> None:
        """Disconnect."""
        await self._redis.aclose()
