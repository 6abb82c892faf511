"""The sets on disk say what sets in memory would say."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from promptmill.cli.publish.id_set import IdSet, OwnIds

IDS = st.integers(0, 20).map(lambda number: f"{number:032x}")
STEPS = st.lists(st.tuples(st.sampled_from(["add", "discard"]), IDS), max_size=60)


@given(first=st.sets(IDS), steps=STEPS, more=st.lists(IDS))
def test_it_holds_what_a_set_holds(
    first: set[str], steps: list[tuple[str, str]], more: list[str]
) -> None:
    ours, plain = IdSet(first), set(first)
    for step, identity in steps:
        if step == "add":
            assert ours.add(identity) == (identity not in plain)
            plain.add(identity)
        else:
            ours.discard(identity)
            plain.discard(identity)
        assert (identity in ours) == (identity in plain)
    ours.update(more)
    plain.update(more)
    assert set(ours) == plain
    assert len(ours) == len(plain)


def test_the_first_prompt_of_an_own_id_keeps_it() -> None:
    owners = OwnIds()
    a, b = f"{1:032x}", f"{2:032x}"
    assert owners.claim("q", a, 3) == (a, 3)
    assert owners.claim("q", b, 4) == (a, 3)
    assert owners.claim("q", a, 5) == (a, 3)
    assert owners.claim("other", b, 6) == (b, 6)
