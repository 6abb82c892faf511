"""The shipped prompts keep the shape that ``data/README.md`` promises.

Only the standard library is used, so that a fault of the project's own reader cannot hide here.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest

DATA = Path(__file__).resolve().parents[3] / "data"
EXAMPLES = DATA / "examples"
FAMILIES = {"open_qa", "writing", "closed_qa", "math", "code"}
ROLES = {"system", "user", "assistant"}
MAX_BYTES = 120_000
MAX_SIMILARITY = 0.5
NGRAM = 5


def read_lines(path: Path) -> list[dict[str, Any]]:
    """The JSON objects of ``path``, one a line."""
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    assert all(isinstance(row, dict) for row in rows)
    return rows


def text_of(row: dict[str, Any]) -> str:
    """Everything that is said in a row, one turn a line."""
    if "prompt" in row:
        return str(row["prompt"])
    return "\n".join(str(message["content"]) for message in row["messages"])


def character_ngrams(text: str) -> frozenset[str]:
    """Character 5-grams of the words alone: stricter on short prompts than 5-grams of words."""
    words = " ".join(re.findall(r"\w+", text.lower()))
    return frozenset(words[i : i + NGRAM] for i in range(max(1, len(words) - NGRAM + 1)))


def jaccard(left: frozenset[str], right: frozenset[str]) -> float:
    return len(left & right) / len(left | right)


def assert_conversation(messages: list[dict[str, str]]) -> None:
    assert messages
    for message in messages:
        assert set(message) == {"role", "content"}
        assert message["role"] in ROLES
        assert message["content"].strip()
    roles = [message["role"] for message in messages]
    turns = roles[1:] if roles[0] == "system" else roles
    assert turns == ["user", "assistant"] * (len(turns) // 2) + ["user"]


def readme_table(heading: str, column: str) -> list[str]:
    """The first cells of the README's table whose header starts with ``column``."""
    section = (DATA / "README.md").read_text(encoding="utf-8").split(f"## {heading}\n")[1]
    table = section.split(f"| {column} |")[1].split("\n\n")[0].splitlines()[2:]
    return [row.split("|")[1].strip() for row in table]


PROMPTS = read_lines(DATA / "prompts.jsonl")


def test_the_file_is_small_and_has_enough_prompts_in_every_family() -> None:
    families = Counter(row["tags"]["family"] for row in PROMPTS)
    assert (DATA / "prompts.jsonl").stat().st_size < MAX_BYTES
    assert len(PROMPTS) >= 240
    assert set(families) == FAMILIES
    assert all(45 <= count <= 55 for count in families.values()), families


def test_every_line_is_one_prompt_or_one_conversation_with_tags() -> None:
    for row in PROMPTS:
        assert set(row) in ({"prompt", "tags"}, {"messages", "tags"})
        if "prompt" in row:
            assert isinstance(row["prompt"], str)
            assert row["prompt"].strip() == row["prompt"] != ""
        else:
            assert_conversation(row["messages"])


def test_tags_are_known_names_with_text_values() -> None:
    for row in PROMPTS:
        assert {"family", "topic"} <= set(row["tags"])
        assert set(row["tags"]) <= {"family", "topic", "level", "answer", "constraint"}
        assert all(isinstance(value, str) and value for value in row["tags"].values())


def test_every_constraint_is_explained_in_the_readme() -> None:
    cells = readme_table("Tags", "`constraint`")
    explained = {name.split(":")[0] for cell in cells for name in re.findall(r"`([^`]+)`", cell)}
    used = {row["tags"].get("constraint", "").split(":")[0] for row in PROMPTS} - {""}
    assert used == explained


def test_some_prompts_have_an_earlier_turn_or_a_system_message() -> None:
    shapes = Counter(
        tuple(message["role"] for message in row["messages"])
        for row in PROMPTS
        if "prompt" not in row
    )
    assert shapes["user", "assistant", "user"] >= 5
    assert shapes["system", "user"] >= 5


def test_lengths_vary_from_one_sentence_to_a_passage() -> None:
    lengths = [len(text_of(row).split()) for row in PROMPTS]
    assert min(lengths) <= 10
    assert 90 <= max(lengths) <= 140


def test_no_two_prompts_are_alike() -> None:
    grams = [(text_of(row), character_ngrams(text_of(row))) for row in PROMPTS]
    worst = max(
        (jaccard(one, other), first, second)
        for (first, one), (second, other) in combinations(grams, 2)
    )
    assert worst[0] < MAX_SIMILARITY, worst


def test_no_opening_is_used_as_a_template() -> None:
    openings = Counter(tuple(text_of(row).lower().split()[:3]) for row in PROMPTS)
    opening, count = openings.most_common(1)[0]
    assert count <= 5, (opening, count)


@pytest.mark.parametrize("name", ["prompts-plain.jsonl", "prompts-messages.jsonl"])
def test_the_plain_examples_use_the_two_native_forms(name: str) -> None:
    rows = read_lines(EXAMPLES / name)
    assert len(rows) == 3
    for row in rows:
        assert ("prompt" in row) == (name == "prompts-plain.jsonl")
        assert set(row) <= {"prompt", "messages", "n", "sampling", "tags"}
        assert_conversation(row.get("messages", [{"role": "user", "content": text_of(row)}]))


def test_the_batch_example_has_chat_requests_with_distinct_ids() -> None:
    rows = read_lines(EXAMPLES / "openai-batch.jsonl")
    assert len({row["custom_id"] for row in rows}) == 3
    for row in rows:
        assert set(row) == {"custom_id", "method", "url", "body"}
        assert (row["method"], row["url"]) == ("POST", "/v1/chat/completions")
        assert_conversation(row["body"]["messages"])


def test_the_readme_names_the_fault_of_every_invalid_line() -> None:
    lines = (EXAMPLES / "invalid.jsonl").read_bytes().splitlines()
    assert readme_table("Examples", "line") == [str(number + 1) for number in range(len(lines))]


def test_the_invalid_lines_fail_to_parse_only_where_the_readme_says_so() -> None:
    unparsable = []
    lines = (EXAMPLES / "invalid.jsonl").read_bytes().splitlines()
    for number, line in enumerate(lines, start=1):
        try:
            json.loads(line, parse_constant=int)  # int refuses the word NaN
        except ValueError:
            unparsable.append(number)
    assert unparsable == [1, 11, 18]
