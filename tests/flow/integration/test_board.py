"""The board of lags on a real Redis: who measures, and whose figures stand."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis

from promptmill.devstack.ports import free_port
from promptmill.flow.board import Election, FlowKeys, LagBoard, Turn, connect
from promptmill.flow.lags import TopicLag, encode_lags
from promptmill.runtime.errors import Unavailable
from support.stack import unique_name
from support.waiting import eventually

pytestmark = pytest.mark.real
LEASE_S = 1.0


class Board:
    """A board of this test's own, and candidates for it."""

    def __init__(self, url: str) -> None:
        self.prefix = f"{unique_name()}."
        self.keys = FlowKeys(self.prefix)
        self.redis: Redis = connect(url)
        self.board = LagBoard(url, self.prefix)

    def candidate(self, identity: str, lease_s: float = LEASE_S, keep_s: float = 600.0) -> Election:
        return Election(self.redis, self.keys, identity, lease_s=lease_s, keep_s=keep_s)


@pytest.fixture
async def board(redis_url: str) -> AsyncIterator[Board]:
    board = Board(redis_url)
    yield board
    await board.board.close()
    await board.redis.aclose()


def figures(records: int) -> bytes:
    return encode_lags({"scored": TopicLag("scored", records)}, "reader")


async def test_one_candidate_is_elected_and_stays_so(board: Board) -> None:
    a, b = board.candidate("a", 600), board.candidate("b", 600)
    first = await a.turn()
    assert first.is_elected
    assert not (await b.turn()).is_elected
    assert (await a.turn()).term == first.term


async def test_figures_are_read_with_their_term_and_age(board: Board) -> None:
    a = board.candidate("a", 600)
    assert await board.board.read() is None
    turn = await a.turn()
    assert await a.publish(turn, figures(5))
    lags = await board.board.read()
    assert lags is not None
    assert lags.term == turn.term
    assert lags.topics["scored"].records == 5
    assert lags.age_s >= 0
    assert lags.at_s == turn.now_ms / 1000


async def test_a_holder_that_is_gone_is_replaced_and_its_late_figures_are_refused(
    board: Board,
) -> None:
    a, b = board.candidate("a"), board.candidate("b", 600)
    old = await a.turn()
    await a.publish(old, figures(1))
    new = await eventually(lambda: _elected(b))
    assert new is not None
    assert new.term > old.term
    assert not await a.publish(old, figures(1)), "the older term wrote after a newer one began"
    assert await b.publish(new, figures(2))
    assert not await a.publish(old, figures(1))
    lags = await board.board.read()
    assert lags is not None
    assert (lags.term, lags.topics["scored"].records) == (new.term, 2)


async def _elected(candidate: Election) -> Turn | None:
    turn = await candidate.turn()
    return turn if turn.is_elected else None


async def test_a_holder_that_resigns_is_replaced_at_once(board: Board) -> None:
    a, b = board.candidate("a", 600), board.candidate("b", 600)
    old = await a.turn()
    await b.resign()
    assert not (await b.turn()).is_elected, "a candidate gave back another one's lease"
    await a.resign()
    assert (await b.turn()).term > old.term


async def test_terms_grow_over_an_emptied_redis(board: Board) -> None:
    a, b = board.candidate("a", 600), board.candidate("b", 600)
    old = await a.turn()
    await board.redis.flushall()
    new = await b.turn()
    assert new.term > old.term
    assert not await a.publish(old, figures(1))
    assert not (await a.turn()).is_elected


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
