"""Rows of the usual data sets become the prompts that they mean, as they are."""

from __future__ import annotations

from typing import Any

import pytest

from promptmill.cli.publish.layouts.choices import LastAnswer
from promptmill.cli.publish.layouts.conversations import TRUTHS
from promptmill.cli.publish.layouts.plain import read_columns
from promptmill.cli.publish.layouts.reading import RowReader
from promptmill.cli.publish.layouts.table import LAYOUTS, layout_of
from promptmill.cli.publish.lines import Defaults, prompt_of
from promptmill_schemas import ContractError, Prompt
from promptmill_schemas.reference import ChoiceReference

SHA256 = "9c1c1a6b7a3de8f09e2d4c5b6a7f8e9d0c1b2a3948576e5d4c3b2a1908f7e6d5"


def user(text: Any) -> dict[str, Any]:
    return {"role": "user", "content": text}


def assistant(text: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": text}


def turn(name: str, text: str) -> dict[str, Any]:
    return {"from": name, "value": text, "weight": None}


def prompt(row: dict[str, Any], **options: Any) -> Prompt:
    return prompt_of(row, Defaults("run"), RowReader(**options))


def turns(made: Prompt) -> list[tuple[str, str]]:
    return [(message.role, message.content) for message in made.messages]


def answer(made: Prompt) -> str | None:
    return getattr(made.reference, "answer", None)


ROWS: dict[str, tuple[str, dict[str, Any], list[tuple[str, str]], str | None]] = {
    "TRL, a prompt of turns": ("trl", {"prompt": [user("Q")]}, [("user", "Q")], None),
    "TRL, prompt and completion": (
        "trl",
        {"prompt": "Q", "completion": "A"},
        [("user", "Q")],
        "A",
    ),
    "TRL, conversational prompt and completion": (
        "trl",
        {"prompt": [user("Q")], "completion": [assistant("A")]},
        [("user", "Q")],
        "A",
    ),
    "TRL, preference": (
        "trl",
        {"prompt": [user("Q")], "chosen": [assistant("A")], "rejected": [assistant("B")]},
        [("user", "Q")],
        "A",
    ),
    "TRL, preference with its prompt inside": (
        "trl",
        {"chosen": [user("Q"), assistant("A")], "rejected": [user("Q"), assistant("B")]},
        [("user", "Q")],
        "A",
    ),
    "UltraFeedback, whole conversations beside the prompt": (
        "trl",
        {"prompt": "Q", "chosen": [user("Q"), assistant("A")], "rejected": [user("Q")]},
        [("user", "Q")],
        "A",
    ),
    "TRL, a solution": ("trl", {"prompt": [user("Q")], "solution": "42"}, [("user", "Q")], "42"),
    "verl": (
        "trl",
        {
            "data_source": "x",
            "prompt": [user("Q")],
            "ability": "math",
            "reward_model": {"style": "rule", "ground_truth": 42},
            "extra_info": {"split": "train"},
        },
        [("user", "Q")],
        "42",
    ),
    "TRL, messages with their source": (
        "trl",
        {"messages": [user("Q"), assistant("A")], "source": "x", "id": "7"},
        [("user", "Q")],
        "A",
    ),
    "UltraChat": (
        "ultrachat",
        {
            "prompt": "Q",
            "prompt_id": SHA256,
            "messages": [user("Q"), assistant("A"), user("R"), assistant("B")],
        },
        [("user", "Q"), ("assistant", "A"), ("user", "R")],
        "B",
    ),
    "Magpie": (
        "magpie",
        {
            "uuid": "u",
            "instruction": "Q",
            "response": "A",
            "conversations": [turn("human", "Q"), turn("gpt", "A")],
            "intent": "i",
        },
        [("user", "Q")],
        "A",
    ),
    "ShareGPT": (
        "sharegpt",
        {
            "id": "x_0",
            "system": "S",
            "conversations": [turn("human", "Q"), turn("gpt", "A"), turn("human", "R")],
        },
        [("system", "S"), ("user", "Q"), ("assistant", "A"), ("user", "R")],
        None,
    ),
    "LMSYS": (
        "sharegpt",
        {"conversation_id": "c", "model": "m", "conversation": [user("Q"), assistant("A")]},
        [("user", "Q")],
        "A",
    ),
    "Alpaca": ("alpaca", {"instruction": "Q", "input": "", "output": "A"}, [("user", "Q")], "A"),
    "Alpaca with an input": (
        "alpaca",
        {"instruction": "Sum up.", "input": "Text.", "output": "A", "text": "Below is …"},
        [("user", "Sum up.\n\nText.")],
        "A",
    ),
    "Alpaca with a history": (
        "alpaca",
        {"instruction": "R", "output": "B", "system": "S", "history": [["Q", "A"]]},
        [("system", "S"), ("user", "Q"), ("assistant", "A"), ("user", "R")],
        "B",
    ),
    "GSM8K": (
        "gsm8k",
        {"question": "Q", "answer": "2 + 2 = <<2+2=4>>4\n#### 4"},
        [("user", "Q")],
        "4",
    ),
    "a problem and its solution": (
        "gsm8k",
        {"problem": "Q", "solution": "So it is 4.", "answer": "4"},
        [("user", "Q")],
        "4",
    ),
    "Nemotron post-training": (
        "nemotron",
        {
            "uuid": "u",
            "license": "cc-by-4.0",
            "generator": "g",
            "version": "v1",
            "category": "math",
            "reasoning": "on",
            "messages": [
                {"role": "system", "content": "", "tool_calls": []},
                {**user("Q"), "tool_calls": []},
                {**assistant("<think>\nHm.\n</think>\n\nA"), "tool_calls": []},
            ],
            "metadata": "{}",
        },
        [("user", "Q")],
        "A",
    ),
    "Nemotron of the first kind": (
        "nemotron",
        {
            "input": [user("Q")],
            "output": "A",
            "category": "math",
            "license": "cc-by-4.0",
            "reasoning": "off",
            "generator": "g",
            "used_in_training": "yes",
            "system_prompt": "detailed thinking off",
        },
        [("system", "detailed thinking off"), ("user", "Q")],
        "A",
    ),
    "HelpSteer2": (
        "helpsteer",
        {"prompt": "Q\n<extra_id_1>Assistant\nA\n<extra_id_1>User\nR", "response": "B"}
        | dict.fromkeys(("helpfulness", "correctness", "coherence", "complexity", "verbosity"), 3),
        [("user", "Q"), ("assistant", "A"), ("user", "R")],
        "B",
    ),
    "HelpSteer2, preferences": (
        "helpsteer",
        {"prompt": "Q", "response_1": "A", "response_2": "B", "preference_strength": 2},
        [("user", "Q")],
        "B",
    ),
    "HelpSteer3": (
        "helpsteer",
        {
            "domain": "code",
            "language": "python",
            "context": [user("Q")],
            "response1": "A",
            "response2": "B",
            "overall_preference": -2,
        },
        [("user", "Q")],
        "A",
    ),
    "ShareGPT with roles in capitals": (
        "sharegpt",
        {"conversations": [turn("SYSTEM", "S"), turn("Human", "Q"), turn("GPT", "A")]},
        [("system", "S"), ("user", "Q")],
        "A",
    ),
    "ShareGPT with turns as JSON": (
        "sharegpt",
        {"conversations": '[{"from": "human", "value": "Q"}, {"from": "gpt", "value": "A"}]'},
        [("user", "Q")],
        "A",
    ),
    "Dolly": (
        "alpaca",
        {"instruction": "Sum up.", "context": "Text.", "response": "A", "category": "c"},
        [("user", "Sum up.\n\nText.")],
        "A",
    ),
    "OpenOrca": (
        "gsm8k",
        {"id": "flan.1", "system_prompt": "S", "question": "Q", "response": "A"},
        [("system", "S"), ("user", "Q")],
        "A",
    ),
    "Orca, pairs": (
        "gsm8k",
        {"system": "S", "question": "Q", "chosen": "A", "rejected": "B"},
        [("system", "S"), ("user", "Q")],
        "A",
    ),
    "MetaMath": (
        "gsm8k",
        {"type": "x", "query": "Q", "original_question": "P", "response": "A"},
        [("user", "Q")],
        "A",
    ),
    "OpenMathInstruct": (
        "gsm8k",
        {"problem": "Q", "generated_solution": "So 4.", "expected_answer": "4"},
        [("user", "Q")],
        "4",
    ),
    "OpenR1, a truth beside the conversation": (
        "nemotron",
        {
            "uuid": "u",
            "problem": "Q",
            "solution": "So it is 4.",
            "answer": "4",
            "messages": [user("Q"), assistant("<think>Hm.</think>It is 4.")],
        },
        [("user", "Q")],
        "4",
    ),
    "Nemotron of the third kind": (
        "nemotron",
        {
            "uuid": "u",
            "expected_answer": "4",
            "problem": "Q",
            "messages": [user("Q"), {**assistant("It is 4."), "reasoning_content": "Hm."}],
            "used_in": ["nano"],
            "license": "cc-by-4.0",
            "tools": [],
        },
        [("user", "Q")],
        "4",
    ),
    "NeMo Gym": (
        "nemo-gym",
        {
            "responses_create_params": {
                "instructions": "S",
                "input": [{"role": "user", "content": [{"type": "input_text", "text": "Q"}]}],
                "parallel_tool_calls": False,
            },
            "expected_answer": "4",
            "agent_ref": {"type": "responses_api_agents", "name": "math"},
        },
        [("system", "S"), ("user", "Q")],
        "4",
    ),
    "messages with columns of a data set": (
        "trl",
        {"messages": [user("Q"), assistant("A")], "full_topic": "t", "length": 33},
        [("user", "Q")],
        "A",
    ),
    "KTO, an answer that is wanted": (
        "trl",
        {"prompt": [user("Q")], "completion": [assistant("A")], "label": True},
        [("user", "Q")],
        "A",
    ),
    "KTO, an answer that is not": (
        "trl",
        {"prompt": [user("Q")], "completion": [assistant("B")], "label": False},
        [("user", "Q")],
        None,
    ),
    "Capybara": (
        "sharegpt",
        {"source": "s", "conversation": [{"input": "Q", "output": "A"}]},
        [("user", "Q")],
        "A",
    ),
    "xLAM": (
        "gsm8k",
        {"query": "Q", "answers": '[{"name": "f"}]', "tools": '[{"name": "f", "parameters": {}}]'},
        [("user", "Q")],
        '[{"name": "f"}]',
    ),
    "SQuAD": (
        "gsm8k",
        {"context": "C", "question": "Q", "answers": {"text": ["A"], "answer_start": [1]}},
        [("user", "C\n\nQ")],
        "A",
    ),
    "a plain prompt": ("plain", {"prompt": "Q"}, [("user", "Q")], None),
    "plain messages": ("plain", {"messages": [user("Q"), assistant("A")]}, [("user", "Q")], "A"),
}


@pytest.mark.parametrize("name", ROWS)
def test_a_row_of_a_data_set_is_taken_as_it_is(name: str) -> None:
    layout, row, asked, reference = ROWS[name]
    found = layout_of(read_columns(row))
    assert found is not None
    assert found.name == layout
    made = prompt(row)
    assert turns(made) == asked
    assert answer(made) == reference


@pytest.mark.parametrize("name", ROWS)
def test_columns_that_are_null_are_absent(name: str) -> None:
    _, row, asked, _ = ROWS[name]
    nulls = dict.fromkeys(("tools", "n", "sampling", "tags", "system_prompt", "input"), None)
    assert turns(prompt({**nulls, **row})) == asked


@pytest.mark.parametrize("name", ROWS)
def test_a_last_answer_is_cut_on_request(name: str) -> None:
    _, row, asked, _ = ROWS[name]
    made = prompt(row, last_answer=LastAnswer.CUT)
    assert turns(made) == asked
    has_truth = not row.keys().isdisjoint({*TRUTHS, "reward_model", "answers"})
    assert (answer(made) is not None) == has_truth


def test_a_last_answer_is_refused_on_request() -> None:
    with pytest.raises(ContractError) as caught:
        prompt({"messages": [user("Q"), assistant("A")]}, last_answer=LastAnswer.REFUSE)
    assert caught.value.field == "messages.1.role"


def test_ids_categories_and_licences_of_rows_are_kept() -> None:
    made = prompt(ROWS["Nemotron post-training"][1])
    assert (made.category, made.licence) == ("math", "cc-by-4.0")
    assert made.tags == {"custom_id": "u", "reasoning": "on"}
    assert prompt(ROWS["UltraChat"][1]).tags == {"custom_id": SHA256}
    assert prompt(ROWS["HelpSteer3"][1]).category == "code"


def test_tools_may_be_json_in_a_text() -> None:
    tools = '[{"type": "function", "function": {"name": "f", "parameters": {}}}]'
    row = {"conversations": [turn("human", "Q")], "tools": tools}
    made = prompt(row)
    assert made.tools is not None
    assert made.tools[0]["function"]["name"] == "f"
    assert prompt({**row, "tools": ""}).tools is None


@pytest.mark.parametrize("name", ["messages", "prompt", "conversations"])
def test_text_parts_developer_turns_and_empty_system_turns_work_everywhere(name: str) -> None:
    parts = [{"type": "text", "text": "W"}, {"type": "text", "text": "hy?", "image_url": None}]
    conversation = [
        {"role": "system", "content": " "},
        {"role": "system", "content": None},
        {"role": "developer", "content": "Be brief.", "name": None},
        {"role": "user", "content": parts, "tool_calls": None},
    ]
    assert turns(prompt({name: conversation})) == [("system", "Be brief."), ("user", "Why?")]


@pytest.mark.parametrize(
    ("row", "letter"),
    [
        ({"choices": ["one", "two", "three"], "answer": 1}, "B"),
        ({"choices": ["one", "two", "three"], "answer": "two"}, "B"),
        ({"choices": ["one", "two", "three"], "answer": "b"}, "B"),
        ({"options": ["one", "two", "three"], "answer": "B", "answer_index": 1}, "B"),
        ({"choices": {"text": ["one", "two"], "label": ["1", "2"]}, "answerKey": "2"}, "2"),
        ({"options": {"A": "one", "B": "two"}, "answer": "two", "answer_idx": "B"}, "B"),
    ],
)
def test_a_question_is_asked_with_its_choices(row: dict[str, Any], letter: str) -> None:
    made = prompt({"question": "Q", "subject": "x", **row})
    assert made.messages[0].content.startswith(f"Q\n\n{'1' if letter == '2' else 'A'}. one\n")
    assert f"\n{letter}. two" in made.messages[0].content
    assert isinstance(made.reference, ChoiceReference)
    assert made.reference.choice == letter


def test_a_call_in_sharegpt_is_a_call_of_a_tool() -> None:
    call = '{"name": "add", "arguments": {"a": 1}}'
    rows = [
        turn("human", "Q"),
        turn("function_call", call),
        turn("observation", "1"),
        turn("function_call", f"[{call}, {call}]"),
        turn("observation", "2"),
        turn("gpt", "A"),
    ]
    bare = '[{"name": "add", "description": "d", "parameters": {"type": "object"}}]'
    made = prompt({"conversations": rows, "tools": bare})
    assert [message.role for message in made.messages] == [
        *("user", "assistant", "tool", "assistant", "tool")
    ]
    calls = [message.tool_calls for message in made.messages]
    assert [len(each) if each else 0 for each in calls] == [0, 1, 0, 2, 0]
    assert calls[1] is not None
    assert calls[1][0].function.name == "add"
    assert calls[1][0].function.arguments == '{"a":1}'
    assert made.tools is not None
    assert made.tools[0]["type"] == "function"
    assert made.tools[0]["function"]["name"] == "add"


def test_a_call_that_is_no_json_stays_a_text() -> None:
    rows = [turn("human", "Q"), turn("function_call", "add(1)"), turn("observation", "1")]
    assert turns(prompt({"conversations": rows}))[1] == ("assistant", "add(1)")


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_row_without_the_columns_of_its_file_is_an_error_that_names_one(name: str) -> None:
    reader = {"layout": LAYOUTS[name]}
    for options in (reader, {**reader, "is_forced": True}):
        with pytest.raises(ContractError) as caught:
            prompt({"utterance": "Q"}, **options)
        assert caught.value.field
        assert caught.value.remedy


def test_the_answers_of_ultrafeedback_are_those_of_their_models() -> None:
    completions = [{"model": "m", "response": "A"}, {"model": "n", "response": "B"}]
    row = {"instruction": "Q", "completions": completions, "models": ["m", "n"]}
    taken = RowReader(wants_answers=True).take(row)
    assert [answer["content"] for answer in taken.answers] == ["A", "B"]


def test_calls_of_tools_are_kept() -> None:
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    conversation = [
        user("Q"),
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "content": "4", "tool_call_id": "c"},
    ]
    made = prompt({"messages": conversation})
    assert made.messages[1].tool_calls is not None
    assert made.messages[2].tool_call_id == "c"


def test_an_error_names_the_column_of_the_row() -> None:
    with pytest.raises(ContractError) as caught:
        prompt({"conversations": [turn("wizard", "Q")]})
    assert caught.value.field == "conversations.0.role"


def test_every_layout_of_the_table_has_a_row_here() -> None:
    tested = {layout for layout, *_ in ROWS.values()}
    assert LAYOUTS.keys() - tested == {"openai-batch"}
