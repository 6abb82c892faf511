"""Conversations become tokens by the model's template, or an error that says what to change."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from jinja2 import TemplateError

from promptmill.inference.thinking import Thinking
from promptmill.inference.vllm.conversation import Renderer
from promptmill.runtime.errors import Poison
from promptmill_schemas import Message

QUESTION = (Message(role="user", content="one two three"),)


class WordTokenizer:
    """A token for each word, and one more where an answer is to begin."""

    def __init__(self, chat_template: str | None) -> None:
        self.chat_template = chat_template
        self.calls = 0
        self.options: dict[str, Any] = {}

    def __call__(self, text: str) -> dict[str, list[int]]:
        self.calls += 1
        return {"input_ids": [len(word) for word in text.split()]}

    def apply_chat_template(
        self, messages: list[dict[str, str]], *, add_generation_prompt: bool, **options: Any
    ) -> dict[str, list[int]]:
        self.options = options
        if messages[0]["role"] == "assistant":
            raise TemplateError("conversation roles must alternate")
        text = " ".join(message["content"] for message in messages)
        return {"input_ids": self(text)["input_ids"] + [0] * add_generation_prompt}


@pytest.fixture
def tokenizer() -> WordTokenizer:
    return WordTokenizer("{{ messages }}")


@pytest.fixture
def generating(tokenizer: WordTokenizer) -> Iterator[Renderer]:
    renderer = Renderer(tokenizer, 6, answers=True)
    yield renderer
    renderer.close()


@pytest.fixture
def grading(tokenizer: WordTokenizer) -> Iterator[Renderer]:
    renderer = Renderer(tokenizer, 6, answers=False)
    yield renderer
    renderer.close()


async def test_a_generator_s_conversation_ends_where_the_answer_begins(
    generating: Renderer,
) -> None:
    assert await generating.render(QUESTION) == [3, 3, 5, 0]


async def test_a_grader_s_conversation_holds_the_answer(grading: Renderer) -> None:
    assert await grading.render(QUESTION, "four") == [3, 3, 5, 4]


async def test_a_conversation_that_fills_the_context_leaves_no_room_for_an_answer(
    generating: Renderer,
) -> None:
    five = (Message(role="user", content="a b c d e"),)
    with pytest.raises(Poison, match="messages have 6 tokens, the model's context holds 5"):
        await generating.render(five)


async def test_a_grader_reads_up_to_its_whole_context(grading: Renderer) -> None:
    assert len(await grading.render(QUESTION, "a b c")) == 6
    with pytest.raises(Poison, match="messages have 7 tokens, the model's context holds 6"):
        await grading.render(QUESTION, "a b c d")


async def test_roles_that_the_template_refuses_are_poison(generating: Renderer) -> None:
    turns = (Message(role="assistant", content="Hello."), *QUESTION)
    with pytest.raises(
        Poison, match=("chat template refuses messages with the roles assistant, user")
    ):
        await generating.render(turns)


async def test_a_base_model_continues_the_plain_text() -> None:
    renderer = Renderer(WordTokenizer(None), 6, answers=True)
    assert await renderer.render(QUESTION) == [3, 3, 5]
    assert renderer.template_digest == ""
    renderer.close()


async def test_candidates_of_one_prompt_are_rendered_once(
    generating: Renderer, tokenizer: WordTokenizer
) -> None:
    for _ in range(3):
        await generating.render(QUESTION)
    assert tokenizer.calls == 1


def test_another_template_has_another_digest(generating: Renderer) -> None:
    other = Renderer(WordTokenizer("{{ other }}"), 6, answers=True)
    assert other.template_digest != generating.template_digest
    other.close()


async def test_the_template_gets_the_arguments_that_switch_thinking(
    tokenizer: WordTokenizer,
) -> None:
    arguments = Thinking(is_on=False).template_arguments()
    renderer = Renderer(tokenizer, 6, answers=True, arguments=arguments)
    await renderer.render(QUESTION)
    renderer.close()
    assert (tokenizer.options["enable_thinking"], tokenizer.options["thinking"]) == (False, False)
