"""The board of lags on a real Redis: who measures, and whose figures stand."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from redis.asyncio import Redis

from flow.flow_board import MemoryBoard
from promptmill.devstack.ports import free_port
from promptmill.flow.board import Election, FlowKeys, LagBoard, Turn, Waits
from promptmill.flow.figures import LEASE_S as REAL_LEASE_S
from promptmill.flow.figures import Candidate
from promptmill.flow.lags import Lags, TopicLag, encode_lags
from promptmill.flow.publishers import Publishers
from promptmill.runtime.errors import Unavailable
from promptmill.runtime.redis_client import connect
from support.stack import unique_name
from support.waiting import eventually

pytestmark = pytest.mark.real
LEASE_S = 1.0


class Board:
    """A board of this test's own, and candidates for it."""

    def __init__(self, url: str) -> None:
        self.prefix = f"{unique_name()}."
        self.keys = FlowKeys(self.prefix)
        self.redis: Redis = connect(url, timeout_s=60)
        self.board = LagBoard(url, self.prefix)

    def candidate(self, identity: str, lease_s: float = LEASE_S, keep_s: float = 600.0) -> Election:
        return Election(self.redis, self.keys, identity, lease_s=lease_s, keep_s=keep_s)

    async def read(self) -> Lags | None:
        return await self.board.read()


@pytest.fixture
async def board(redis_url: str) -> AsyncIterator[Board]:
    board = Board(redis_url)
    yield board
    await board.board.close()
    await board.redis.aclose()


@pytest.fixture(params=["redis", "memory"])
def election(request: pytest.FixtureRequest) -> Board | MemoryBoard:
    """The board on Redis, and the one that stands for it in tests on a clock of their own."""
    if request.param == "memory":
        return MemoryBoard(time.time)
    found: Board = request.getfixturevalue("board")
    return found


def figures(records: int) -> bytes:
    return encode_lags({"scored": TopicLag("scored", records)}, "reader")


async def test_one_candidate_is_elected_and_stays_so(election: Board | MemoryBoard) -> None:
    a, b = election.candidate("a", 600), election.candidate("b", 600)
    first = await a.turn()
    assert first.is_elected
    assert not (await b.turn()).is_elected
    assert (await a.turn()).term == first.term


async def test_figures_are_read_with_their_term_and_age(election: Board | MemoryBoard) -> None:
    a = election.candidate("a", 600)
    assert await election.read() is None
    turn = await a.turn()
    assert await a.publish(turn, figures(5))
    lags = await election.read()
    assert lags is not None
    assert lags.term == turn.term
    assert lags.topics["scored"].records == 5
    assert lags.age_s >= 0
    assert lags.at_s == turn.now_ms / 1000


async def test_a_holder_that_is_gone_is_replaced_and_its_late_figures_are_refused(
    election: Board | MemoryBoard,
) -> None:
    a, b = election.candidate("a", LEASE_S), election.candidate("b", 600)
    old = await a.turn()
    await a.publish(old, figures(1))
    new = await eventually(lambda: _elected(b))
    assert new is not None
    assert new.term > old.term
    assert not await a.publish(old, figures(1)), "the older term wrote after a newer one began"
    assert await b.publish(new, figures(2))
    assert not await a.publish(old, figures(1))
    lags = await election.read()
    assert lags is not None
    assert (lags.term, lags.topics["scored"].records) == (new.term, 2)


async def _elected(candidate: Candidate) -> Turn | None:
    turn = await candidate.turn()
    return turn if turn.is_elected else None


async def test_a_holder_that_resigns_is_replaced_at_once(election: Board | MemoryBoard) -> None:
    a, b = election.candidate("a", 600), election.candidate("b", 600)
    old = await a.turn()
    await b.resign()
    assert not (await b.turn()).is_elected, "a candidate gave back another one's lease"
    await a.resign()
    assert (await b.turn()).term > old.term


async def test_a_lease_ends_no_later_than_it_says(board: Board) -> None:
    """What ``tests/flow/unit/test_takeover.py`` builds on: by Redis' clock, since the last turn."""
    await board.candidate("a", REAL_LEASE_S).turn()
    assert await board.redis.pttl(board.keys.lease) <= 1000 * REAL_LEASE_S


async def test_terms_grow_over_an_emptied_redis(board: Board) -> None:
    a, b = board.candidate("a", 600), board.candidate("b", 600)
    old = await a.turn()
    await board.redis.flushall()
    new = await b.turn()
    assert new.term > old.term
    assert not await a.publish(old, figures(1))
    assert not (await a.turn()).is_elected


async def test_what_publishers_have_waited_is_summed_by_run(board: Board, redis_url: str) -> None:
    a, b = (Publishers(redis_url, board.prefix, "r", name, stands_s=600) for name in ("a", "b"))
    await a.ask(is_held=True, waited_s=1.5)
    await a.ask(is_held=True, waited_s=4.0)
    await b.ask(waited_s=0.25)
    assert await board.board.waits() == {"r": Waits(1, 4.25)}
    turn = await board.candidate("c", 600).turn()
    assert (turn.held_publishers, turn.waited_s) == (1, 4.25)
    for each in (a, b):
        await each.close()


HOUR_MS = 3_600_000


async def test_what_was_measured_before_the_clock_was_set_back_is_stale(board: Board) -> None:
    gone = board.candidate("gone", 600)
    turn = await gone.turn()
    await gone.publish(replace(turn, now_ms=turn.now_ms + HOUR_MS), figures(1))
    lags = await board.read()
    assert lags is not None
    assert lags.is_stale


async def test_a_lease_from_before_the_clock_was_set_back_is_taken_over_once(board: Board) -> None:
    gone, next_, third = (board.candidate(name, 600) for name in ("gone", "next", "third"))
    old = await gone.turn()
    await gone.publish(replace(old, now_ms=old.now_ms + HOUR_MS), figures(1))
    new = await next_.turn()
    assert new.term > old.term
    assert not (await third.turn()).is_elected
    assert await next_.publish(new, figures(2))


async def test_publishers_from_before_the_clock_was_set_back_are_forgotten(
    board: Board, redis_url: str
) -> None:
    publisher = Publishers(redis_url, board.prefix, "r", "a", stands_s=600)
    await publisher.ask(is_held=True)
    seconds, _ = await board.redis.time()
    for key in (board.keys.publishers, board.keys.held_publishers):
        await board.redis.zadd(key, {"gone b": seconds * 1000 + HOUR_MS})
    assert await publisher.ask(is_held=True) == 1.0
    assert await board.board.waits() == {"r": Waits(1, 0.0)}
    await publisher.close()


async def test_figures_expire(board: Board) -> None:
    a = board.candidate("a", 600, keep_s=0.2)
    await a.publish(await a.turn(), figures(1))

    async def gone() -> bool:
        return await board.board.read() is None

    await eventually(gone)


async def test_what_a_stranger_wrote_is_no_figure(board: Board) -> None:
    await board.redis.hset(board.keys.lags, mapping={"term": 1, "at_ms": 1, "lags": "?"})
    assert await board.board.read() is None


async def test_a_redis_that_does_not_answer_is_unavailable() -> None:
    board = LagBoard(f"redis://127.0.0.1:{free_port()}/0")
    with pytest.raises(Unavailable, match="lags"):
        await board.read()
    await board.close()
