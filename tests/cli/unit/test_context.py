"""A prompt is refused only when no running model can take it, and that is certain."""

from __future__ import annotations

from pathlib import Path

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers

from promptmill.cli.publish.context import AnyOf, ContextLimit, accept_all, check_for
from promptmill.runtime.telemetry.registry import WorkerInfo
from promptmill_schemas import ContractError, Message, Prompt


def asking(*texts: str) -> Prompt:
    return Prompt.create("run", tuple(Message(role="user", content=text) for text in texts))


def words(text: str) -> int:
    return len(text.split())


@pytest.fixture
def tokenizer(tmp_path: Path) -> str:
    """A folder with a tokenizer of one token a word."""
    made = Tokenizer(models.WordLevel({"?": 0}, "?"))
    made.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    made.save(str(tmp_path / "tokenizer.json"))
    return str(tmp_path)


def worker(tokenizer: str, context_tokens: int, stage: str = "instruct") -> WorkerInfo:
    name = f"{stage}-{context_tokens}"
    return WorkerInfo(stage=stage, id=name, context_tokens=context_tokens, tokenizer=tokenizer)


def test_a_prompt_that_fills_the_context_is_refused_with_both_numbers() -> None:
    limit = ContextLimit(10, words)
    limit(asking("one two three four", "five six seven eight nine"))
    with pytest.raises(ContractError) as caught:
        limit(asking("one two three four", "five six seven eight nine ten"))
    assert caught.value.field == "messages"
    assert "10 tokens" in caught.value.limit
    assert "at least 10" in caught.value.limit


def test_a_prompt_with_fewer_bytes_than_the_context_has_tokens_is_not_counted() -> None:
    def never(text: str) -> int:
        raise AssertionError(text)

    ContextLimit(100, never)(asking("x" * 99))


def test_one_model_that_takes_the_prompt_is_enough() -> None:
    AnyOf([ContextLimit(2, words), ContextLimit(20, words)])(asking("one two three four five six"))


def test_a_prompt_that_no_model_takes_is_refused_for_the_longest_context() -> None:
    check = AnyOf([ContextLimit(2, words), ContextLimit(3, words)])
    with pytest.raises(ContractError, match="context holds 3 tokens"):
        check(asking("one two three four"))


def test_the_tokenizer_of_a_running_worker_is_used(tokenizer: str) -> None:
    check = check_for([worker(tokenizer, 4), worker(tokenizer, 1, stage="reward")])
    check(asking("one two three"))
    with pytest.raises(ContractError, match="at least 4"):
        check(asking("one two three four"))


@pytest.mark.parametrize("case", ["no workers", "no length", "no tokenizer", "unreadable"])
def test_without_certainty_nothing_is_refused(case: str, tokenizer: str) -> None:
    workers = {
        "no workers": [],
        "no length": [worker(tokenizer, 4), worker(tokenizer, 0)],
        "no tokenizer": [worker(tokenizer, 4), worker("", 4)],
        "unreadable": [worker(tokenizer, 4), worker("/nowhere", 4)],
    }
    assert check_for(workers[case]) is accept_all
