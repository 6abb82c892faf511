"""Inline reasoning is split from the final answer by known tags."""

from __future__ import annotations

import pytest

from promptmill.inference.http.answer import read_answer
from promptmill.inference.reasoning import Split, read_tags, split_reasoning
from promptmill.runtime.errors import Misconfigured


@pytest.mark.parametrize(
    ("text", "split"),
    [
        ("<think>\nHm.\n</think>\n\nFour.", Split("Four.", "Hm.")),
        ("Hm.\n</think>\n\nFour.", Split("Four.", "Hm.")),
        ("<think></think>Four.", Split("Four.", "")),
        ("<think>Hm.", Split("", "Hm.")),
        ("[THINK]Hm.[/THINK]Four.", Split("Four.", "Hm.")),
        ("<think>Hm.</think>\n<think>So.</think>Four.", Split("Four.", "Hm.\n\nSo.")),
        ("<think>Hm.</think><think>So", Split("", "Hm.\n\nSo")),
        (
            "<|channel|>analysis<|message|>Hm.<|end|><|start|>assistant<|channel|>final<|message|>4",
            Split("4", "Hm."),
        ),
        ("Four.", Split("Four.")),
        ("Write <think>x</think> first.", Split("Write <think>x</think> first.")),
        ("", Split("")),
    ],
)
def test_the_reasoning_is_split_at_the_beginning_only(text: str, split: Split) -> None:
    assert split_reasoning(text) == split


def test_the_tags_can_be_chosen() -> None:
    assert split_reasoning("<a>x</a>y", read_tags("<a> </a>")) == Split("y", "x")
    assert split_reasoning("<think>x</think>y", read_tags("none")) == Split("<think>x</think>y")
    with pytest.raises(Misconfigured, match="reasoning_tags is 'x'"):
        read_tags("x")


@pytest.mark.parametrize("name", ["reasoning", "reasoning_content"])
def test_both_names_of_servers_are_read(name: str) -> None:
    choice = {"message": {"content": "Four.", name: "Hm."}, "finish_reason": "stop"}
    usage = {"completion_tokens": 9, "completion_tokens_details": {"reasoning_tokens": 7}}
    answer = read_answer("chat", {"choices": [choice], "usage": usage})
    assert (answer.text, answer.reasoning_content, answer.reasoning_tokens) == ("Four.", "Hm.", 7)
