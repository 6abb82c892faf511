"""What holds for the normal form of every text."""

from __future__ import annotations

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from promptmill_schemas.content import folded

unhurried = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
anything = st.text(max_size=80)
blanks = st.text(alphabet=" \t\n\r\u00a0\u2003\u3000", max_size=4)


@unhurried
@given(anything)
def test_the_normal_form_of_a_normal_form_is_itself(text: str) -> None:
    assert folded(folded(text)) == folded(text)


@unhurried
@given(anything, blanks, blanks)
def test_white_space_around_a_text_is_nothing(text: str, before: str, after: str) -> None:
    assert folded(before + text + after) == folded(text)


@unhurried
@given(st.lists(st.text(alphabet="abcXYZ", min_size=1), max_size=6), blanks)
def test_white_space_between_words_is_one_space(words: list[str], blank: str) -> None:
    assert folded(f" {blank}".join(words)) == folded(" ".join(words))


@unhurried
@given(st.text(alphabet=st.characters(max_codepoint=127), max_size=80))
def test_ascii_takes_the_short_way_to_the_same_form(text: str) -> None:
    assert folded(text + " é") == f"{folded(text)} é".lstrip()
