"""What may run beside what, and that only killers are dead-lettered."""

from __future__ import annotations

from random import Random

from hypothesis import given
from hypothesis import strategies as st

from promptmill.stream.in_flight import Deaths
from promptmill.stream.isolation import Isolation, Risk

ENGINE_DEATHS = 3


@given(
    slots=st.integers(1, 40),
    risks=st.lists(st.sampled_from([Risk.SUSPECTS, Risk.GROUP, Risk.ALONE]), max_size=30),
    others=st.integers(0, 30),
    choices=st.randoms(use_true_random=False),
)
def test_suspects_run_apart_and_everything_runs_in_the_end(
    slots: int, risks: list[Risk], others: int, choices: Random
) -> None:
    isolation: Isolation[int] = Isolation(slots, ENGINE_DEATHS)
    running: list[Risk] = []
    arriving = list(risks)
    begun = 0
    while arriving or isolation.waiting or others or running:
        if arriving and choices.random() < 0.5:
            isolation.add(arriving.pop(), 0)
        elif (turn := len(running) < slots and isolation.take()) or (
            others and len(running) < slots and isolation.admits_others
        ):
            risk = turn[0] if turn else Risk.NONE
            others -= risk is Risk.NONE
            _check(isolation, running, risk)
            isolation.began(risk)
            running.append(risk)
            begun += 1
        elif running:
            ended = running.pop(choices.randrange(len(running)))
            isolation.ended(ended)
        else:
            assert arriving, "nothing runs, nothing may begin: stuck"
    assert begun >= len(risks)


def _check(isolation: Isolation[int], running: list[Risk], risk: Risk) -> None:
    assert Risk.ALONE not in running, "nothing begins beside a lone record"
    if risk is Risk.ALONE:
        assert not running
    if risk is Risk.GROUP:
        assert Risk.SUSPECTS not in running
        assert running.count(Risk.GROUP) < isolation.group
    if risk is Risk.SUSPECTS:
        assert Risk.GROUP not in running
    if risk is Risk.NONE:
        assert not {Risk.SUSPECTS, Risk.GROUP} & set(running)
        assert not isolation.waiting


@given(
    slots=st.integers(1, 64),
    innocents=st.integers(0, 80),
    killers=st.integers(1, 3),
    choices=st.randoms(use_true_random=False),
)
def test_lives_that_end_with_their_killers_leave_only_killers_behind(
    slots: int, innocents: int, killers: int, choices: Random
) -> None:
    """A simulation of lives: what runs is drawn at random, a killer ends the life."""
    records = list(range(innocents + killers))
    choices.shuffle(records)
    guilty = set(range(killers))
    deaths = dict.fromkeys(records, Deaths())
    convicted: list[int] = []
    lives = 0
    while deaths:
        lives += 1
        assert lives <= 2 + 5 * killers, "each killer takes five lives at most"
        _live(slots, deaths, guilty, convicted, choices)
    assert sorted(convicted) == sorted(guilty)


@given(slots=st.integers(2, 64), suspects=st.integers(1, 64))
def test_after_one_death_suspects_use_all_slots(slots: int, suspects: int) -> None:
    """A worker that was killed by its operator is back at full speed at once."""
    isolation: Isolation[int] = Isolation(slots, ENGINE_DEATHS)
    begun = 0
    for number in range(suspects):
        isolation.add(isolation.risk_of(Deaths(1)), number)
    while begun < slots and (turn := isolation.take()):
        isolation.began(turn[0])
        begun += 1
    assert begun == min(slots, suspects)


@given(total=st.integers(0, 50), alone=st.integers(0, 1))
def test_no_number_of_deaths_in_company_makes_a_killer(total: int, alone: int) -> None:
    isolation: Isolation[int] = Isolation(64, ENGINE_DEATHS)
    assert isolation.verdict(Deaths(total, min(total, alone))) is None
    assert isolation.verdict(Deaths(total + ENGINE_DEATHS, 2))


def _live(
    slots: int,
    deaths: dict[int, Deaths],
    guilty: set[int],
    convicted: list[int],
    choices: Random,
) -> None:
    isolation: Isolation[int] = Isolation(slots, ENGINE_DEATHS)
    fresh = []
    for record, known in list(deaths.items()):
        if isolation.verdict(known):
            convicted.append(record)
            del deaths[record]
        elif risk := isolation.risk_of(known):
            isolation.add(risk, record)
        else:
            fresh.append(record)
    running: dict[int, Risk] = {}
    while isolation.waiting or fresh or running:
        while len(running) < slots:
            if turn := isolation.take():
                risk, record = turn
            elif fresh and isolation.admits_others:
                risk, record = Risk.NONE, fresh.pop(0)
            else:
                break
            isolation.began(risk)
            running[record] = risk
        ended = choices.choice(sorted(running))
        if ended in guilty:
            for record, risk in running.items():
                was = deaths[record]
                alone = was.alone + 1 if isolation.is_alone(risk) else 0
                deaths[record] = Deaths(was.total + 1, alone)
            return
        isolation.ended(running.pop(ended))
        del deaths[ended]
