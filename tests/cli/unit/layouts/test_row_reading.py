"""Columns are mapped, kept as tags, ignored or refused, as the command line says."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from promptmill.cli.publish.files.splitting import RawLine
from promptmill.cli.publish.layouts.choices import UnknownColumns
from promptmill.cli.publish.layouts.reading import RowReader, forced, parse_mapping
from promptmill.cli.publish.layouts.recognising import Recogniser
from promptmill.cli.publish.lines import Defaults, findings_of, object_of, prompt_of
from promptmill.runtime.errors import Misconfigured
from promptmill_schemas import ContractError, Prompt
from support.commands import Promptmill

GSM8K = {"question": "Q", "answer": "So\n#### 4", "level": 3, "is_hard": True, "where": {"a": 1}}


def prompt(row: dict[str, Any], **options: Any) -> Prompt:
    return prompt_of(row, Defaults("run"), RowReader(**options))


def refused(row: dict[str, Any], **options: Any) -> ContractError:
    with pytest.raises(ContractError) as caught:
        prompt(row, **options)
    return caught.value


def test_columns_are_mapped_to_fields() -> None:
    mapping = parse_mapping("prompt=q.text, tags.answer=answer,n=k,sampling.temperature=heat")
    row = {"q": {"text": "Q"}, "answer": 4, "k": 2, "heat": 0.5, "other": "x"}
    made = prompt(row, mapping=mapping)
    assert made.messages[0].content == "Q"
    assert (made.n, made.sampling.temperature, made.tags) == (2, 0.5, {"answer": "4"})
    assert made.reference is None


def test_a_mapped_reference_is_an_answer() -> None:
    made = prompt({"q": "Q", "a": 4}, mapping=parse_mapping("prompt=q,reference=a"))
    assert made.reference is not None
    assert made.reference.model_dump() == {"kind": "answer", "answer": "4"}


def test_a_layout_can_be_forced_and_mapped_on() -> None:
    made = prompt(
        GSM8K, layout=forced("gsm8k"), is_forced=True, mapping=parse_mapping("tags.level=level")
    )
    assert (made.messages[0].content, made.tags) == ("Q", {"level": "3"})
    assert made.reference is not None


def test_a_mapped_column_that_a_row_lacks_is_named() -> None:
    error = refused({"x": 1}, mapping=parse_mapping("prompt=q"))
    assert (error.field, error.value) == ("q", "missing")


@pytest.mark.parametrize("pairs", ["prompt", "promt=q", "tags.x=", "prompt_id=x"])
def test_a_mapping_to_no_field_is_refused(pairs: str) -> None:
    with pytest.raises(ContractError, match="field=column"):
        parse_mapping(pairs)


def test_an_unknown_layout_is_refused_with_all_names() -> None:
    with pytest.raises(ContractError, match=r"openai-batch.*gsm8k"):
        forced("gsm")


def test_other_columns_of_a_data_set_are_ignored_or_tags_or_refused() -> None:
    assert prompt(GSM8K).tags == {}
    made = prompt(GSM8K, unknown=UnknownColumns.TAGS)
    assert made.tags == {"level": "3", "is_hard": "true", "where": '{"a":1}'}
    error = refused(GSM8K, unknown=UnknownColumns.REFUSE)
    assert [finding.field for finding in findings_of(error)] == ["level", "is_hard", "where"]


def test_other_columns_of_a_plain_row_are_refused_or_tags_or_ignored() -> None:
    row = {"prompt": "Q", "topic": "x", "tags": {"topic": "y", "a": 1.5}}
    assert refused(row).field == "topic"
    assert "--unknown-columns tags" in refused(row).remedy
    assert prompt(row, unknown=UnknownColumns.TAGS).tags == {"topic": "y", "a": "1.5"}
    assert prompt(row, unknown=UnknownColumns.IGNORE).tags == {"topic": "y", "a": "1.5"}
    assert prompt({"prompt": "Q", "x": 1}, unknown=UnknownColumns.IGNORE).tags == {}


def test_all_findings_of_a_row_are_reported_at_once() -> None:
    error = refused({"prompt": "", "n": 0, "sampling": {"temperature": 3}, "x": 1})
    assert [f.field for f in findings_of(error)] == ["prompt", "n", "sampling.temperature", "x"]
    assert str(error).count("; also ") == 3


def test_all_findings_of_a_batch_request_are_reported_at_once() -> None:
    body = {"temperature": 9, "functions": [], "messages": [{"role": "wizard", "content": "x"}]}
    error = refused({"url": "/v1/embeddings", "method": "GET", "body": body})
    assert {finding.field for finding in findings_of(error)} == {
        *("url", "method", "body.functions", "body.temperature", "body.messages.0.role")
    }


class Told:
    """A recogniser, and what it told."""

    def __init__(self, **options: Any) -> None:
        self.texts: list[str] = []
        self.recogniser = Recogniser(RowReader(**options), object_of, self.texts.append)

    async def prompts(self, *rows: Any, file: str | None = None) -> list[Prompt]:
        raws = [row if isinstance(row, bytes) else orjson.dumps(row) for row in rows]
        lines = [RawLine(n, raw, len(raw), file) for n, raw in enumerate(raws, start=1)]
        made = []
        async for batch in self.recogniser.follow(in_batches(lines)):
            objects = [row for line in batch if (row := object_of(line.content)) is not None]
            made += [prompt_of(row, Defaults("run"), self.recogniser) for row in objects]
        return made


async def in_batches(lines: list[RawLine]) -> AsyncIterator[list[RawLine]]:
    yield lines[:2]
    yield lines[2:]


async def test_the_layout_is_told_in_one_line() -> None:
    told = Told()
    assert len(await told.prompts(GSM8K, GSM8K, GSM8K)) == 3
    (text,) = told.texts
    assert text == (
        "layout gsm8k (question, answer); ignored columns: level, is_hard, where "
        "(--unknown-columns tags keeps them)"
    )


async def test_our_own_layouts_may_be_mixed_and_are_not_told() -> None:
    told = Told()
    messages = [{"role": "user", "content": "Q"}]
    rows = ({"prompt": "Q"}, {"messages": messages}, {"body": {"messages": messages}})
    made = await told.prompts(*rows)
    assert len({prompt.prompt_id for prompt in made}) == 1
    assert told.texts == []


async def test_each_file_has_its_own_layout() -> None:
    told = Told()
    await told.prompts(GSM8K, GSM8K, file="a")
    await told.prompts({"instruction": "Q", "output": "A"}, file="b")
    assert [text.split(" (")[0] for text in told.texts] == ["a: layout gsm8k", "b: layout alpaca"]


async def test_rows_that_no_layout_has_are_refused_in_one_line() -> None:
    with pytest.raises(Misconfigured) as caught:
        await Told().prompts({"utterance": "Q", "speaker": 1}, {"utterance": "R", "speaker": 1})
    text = str(caught.value)
    assert "utterance, speaker" in text
    assert "--map prompt=COLUMN" in text
    assert "\n" not in text


async def test_bad_lines_before_the_first_good_one_do_not_matter() -> None:
    told = Told()
    assert len(await told.prompts(b"{", b"[]", GSM8K)) == 1
    assert told.texts[0].startswith("layout gsm8k")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--layout", "gsm"), "--layout"),
        (("--map", "promt=q"), "--map"),
        (("--unknown-columns", "drop"), "--unknown-columns"),
        (("--last-answer", "keep"), "--last-answer"),
    ],
)
def test_a_wrong_option_is_named(
    promptmill: Promptmill, tmp_path: Path, options: tuple[str, str], said: str
) -> None:
    file = tmp_path / "in"
    file.write_text("{}")
    done = promptmill("publish", file, "--run", "r", *options)
    assert done.code == 2
    assert said in done.err
