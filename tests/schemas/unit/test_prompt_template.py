"""A prompt from a template is the prompt that would have been created."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from promptmill_schemas import Message, Prompt, Sampling, StructuredOutput, decode
from promptmill_schemas.prompt_template import PromptTemplate

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1)
NASTY = {"quote": '"', "time": "2000-01-01T00:00:00Z", "letter": "ß\u2028\x00"}
SHAPED = Sampling(temperature=0.5, structured=StructuredOutput(json_schema={"b": 1, "a": 0.5}))


@given(text=TEXTS)
def test_it_has_the_id_and_the_content_of_a_created_prompt(text: str) -> None:
    for adapter in (None, 'an "adapter"'):
        options = {"n": 3, "sampling": SHAPED, "adapter": adapter, "tags": NASTY}
        prompt_id, raw, _ = PromptTemplate("run-1", **options).fill(text)  # type: ignore[arg-type]
        read = decode(Prompt, raw)
        expected = Prompt.create(
            "run-1",
            (Message(role="user", content=text),),
            created_at=read.created_at,
            **options,  # type: ignore[arg-type]
        )
        assert read == expected
        assert prompt_id == expected.prompt_id


def test_the_conversation_is_that_of_the_text() -> None:
    (message,) = PromptTemplate("run-1").conversation("Why?").messages
    assert (message.role, message.content) == ("user", "Why?")
