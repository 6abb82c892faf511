"""Lines that ask the same under own ids are draws, whatever their order and whoever was first."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Iterable

import pytest

from cli.unit.known_prompts import KnownPrompts
from promptmill.cli.publish.draws import Draws
from promptmill_schemas import Message, Prompt


def asking(text: str, own: str | None, draw: int | None = None) -> Prompt:
    tags = {} if own is None else {"custom_id": own}
    return Prompt.create("run", (Message(role="user", content=text),), tags=tags, draw=draw)


class Topic:
    """What is published, as later runs of ``publish`` find it."""

    def __init__(self) -> None:
        self.prompts: dict[str, Prompt] = {}
        self.reads = 0

    async def own_ids(self) -> AsyncIterator[tuple[str, str]]:
        self.reads += 1
        for prompt in self.prompts.values():
            if "custom_id" in prompt.tags:
                yield prompt.prompt_id, prompt.tags["custom_id"]

    async def publish(self, lines: Iterable[tuple[str, str | None]]) -> list[Prompt]:
        """The prompts of the lines; new ones are on the topic now."""
        known = KnownPrompts(self.prompts)
        draws = Draws(known, self.own_ids)
        made = []
        for text, own in lines:
            prompt = asking(text, own)
            if own is not None:
                prompt = await draws.place(prompt, own)
            if known.add(prompt.prompt_id):
                self.prompts[prompt.prompt_id] = prompt
            made.append(prompt)
        return made


LINES: list[tuple[str, str | None]] = [("poem", f"draw-{number}") for number in range(5)]


async def test_each_own_id_is_a_draw_and_keeps_its_tags() -> None:
    made = await Topic().publish(LINES)
    assert [prompt.draw for prompt in made] == [None, 1, 2, 3, 4]
    assert [prompt.tags["custom_id"] for prompt in made] == [own for _, own in LINES]
    assert len({prompt.prompt_id for prompt in made}) == 5
    assert made[0].prompt_id == asking("poem", None).prompt_id


async def test_the_same_id_is_the_same_draw() -> None:
    topic = Topic()
    made = await topic.publish([*LINES, *LINES])
    assert [p.prompt_id for p in made[:5]] == [p.prompt_id for p in made[5:]]
    assert len(topic.prompts) == 5


@pytest.mark.parametrize("seed", range(5))
async def test_neither_the_order_nor_the_parts_of_the_lines_matter(seed: int) -> None:
    lines = LINES * 2 + [("other", "x"), ("poem", None)]
    random.Random(seed).shuffle(lines)
    topic = Topic()
    for at in range(0, len(lines), 3):
        await topic.publish(lines[at : at + 3])
    before = dict(topic.prompts)
    await topic.publish(reversed(lines))
    assert topic.prompts == before
    owners = [prompt.tags.get("custom_id") for prompt in topic.prompts.values()]
    assert sorted(own for own in owners if own) == sorted({own for _, own in LINES if own} | {"x"})


async def test_a_line_with_an_id_is_a_draw_beside_a_prompt_without() -> None:
    made = await Topic().publish([("poem", None), ("poem", "a"), ("poem", None), ("poem", "b")])
    assert [prompt.draw for prompt in made] == [None, 1, None, 2]


async def test_nothing_is_read_for_contents_that_are_new() -> None:
    topic = Topic()
    await topic.publish([("one", "a"), ("two", "b")])
    assert topic.reads == 0


async def test_a_draw_that_a_line_names_is_kept() -> None:
    prompt = asking("poem", "a", draw=7)
    assert await Draws(KnownPrompts()).place(prompt, "a") is prompt


async def test_a_draw_keeps_everything_else() -> None:
    tools = ({"type": "function", "function": {"name": "f"}},)
    given = Prompt.create(
        "run",
        (Message(role="user", content="poem"),),
        tools=tools,
        chat_template_kwargs={"a": 1},
        extra_body={"b": 2},
        category="c",
        licence="l",
    )
    draws = Draws(KnownPrompts())
    await draws.place(given, "a")
    placed = await draws.place(given, "b")
    changed = {"prompt_id", "draw"}
    assert placed.draw == 1
    assert placed.model_dump(exclude=changed) == given.model_dump(exclude=changed)


async def test_later_draws_are_looked_up_where_the_table_holds_them() -> None:
    """A content's first draw is looked up with the line; how many follow is known only then."""
    topic = Topic()
    before = await topic.publish(LINES[:3])
    known = KnownPrompts([before[0].prompt_id])
    known.stored = {prompt.prompt_id for prompt in before}
    again = await Draws(known, topic.own_ids).place(asking("poem", "new"), "new")
    assert again.draw == 3
    assert known.looked_up == [[each.prompt_id] for each in (*before[1:], again)]
