"""An id depends on the content alone, and on all of it."""

from __future__ import annotations

from typing import Any

from hypothesis import assume, given
from hypothesis import strategies as st

from promptmill_schemas import Prompt, Sampling
from promptmill_schemas.ids import SEED_MASK, candidate_seed, digest, letter_id, record_id
from promptmill_schemas.prompt import FURTHER
from support.contracts import conversations, prompts, run_names, samplings

parts = st.lists(st.integers(-(2**40), 2**40) | st.text(max_size=8), max_size=4)


@given(run=run_names, messages=conversations, n=st.integers(1, 128), sampling=samplings)
def test_the_same_prompt_has_the_same_id(
    run: str, messages: tuple[Any, ...], n: int, sampling: Sampling
) -> None:
    first = Prompt.create(run, messages, n=n, sampling=sampling, tags={"a": "b"})
    second = Prompt.create(run, messages, n=n, sampling=sampling)
    assert first.prompt_id == second.prompt_id


@given(one=prompts(), other=prompts())
def test_prompts_that_ask_something_else_have_other_ids(one: Prompt, other: Prompt) -> None:
    same = all(
        getattr(one, name) == getattr(other, name)
        for name in ("run", "messages", "n", "sampling", "adapter", *FURTHER)
    )
    assert (one.prompt_id == other.prompt_id) == same


@given(one=parts, other=parts)
def test_the_parts_of_a_digest_do_not_run_into_each_other(one: list[Any], other: list[Any]) -> None:
    assume(one != other)
    assert digest("kind", *one) != digest("kind", *other)


@given(prompt=st.text(max_size=32), index=st.integers(0, 127), other=st.integers(0, 127))
def test_each_candidate_has_its_own_seed_of_63_bits(prompt: str, index: int, other: int) -> None:
    seed = candidate_seed(prompt, index)
    assert 0 <= seed <= SEED_MASK
    assert (seed == candidate_seed(prompt, other)) == (index == other)


@given(prompt=st.text(max_size=32), answer=st.text(max_size=32))
def test_ids_of_different_kinds_never_meet(prompt: str, answer: str) -> None:
    assert record_id(prompt, "sft", answer) != record_id(prompt, "preference", answer)
    assert record_id(prompt, "sft", answer) != letter_id(prompt, 0, 0, 0)
