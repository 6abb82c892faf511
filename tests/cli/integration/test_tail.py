"""Records, rejects and dead letters are shown as they land."""

from __future__ import annotations

import os
import subprocess
import sys

import orjson
import pytest

from cli.integration.conftest import Place
from promptmill_schemas import encode
from promptmill_schemas.topics import DEAD_LETTERS, RECORDS, REJECTS
from support.commands import Promptmill
from support.store import letter, record, reject

pytestmark = pytest.mark.real


def test_the_last_records_are_shown_oldest_first(promptmill: Promptmill, place: Place) -> None:
    for text in "abcdefgh":
        place.send(RECORDS, record(text))
    shown = promptmill("tail", "--json", "-n", 3).json_lines
    assert [found["messages"][0]["content"] for found in shown] == ["f", "g", "h"]
    assert shown[0] == orjson.loads(encode(record("f")))


def test_everything_is_shown_when_there_is_less_than_asked_for(
    promptmill: Promptmill, place: Place
) -> None:
    assert promptmill("tail").out == ""
    place.send(RECORDS, record("a"), record("b"), record("c"))
    for count in (3, 4, 5, 100):
        assert len(promptmill("tail", "-n", count).out.splitlines()) == 3
    assert promptmill("tail", "-n", 0).out == ""


def test_only_the_run_that_was_asked_for_is_shown(promptmill: Promptmill, place: Place) -> None:
    other = [record(str(n)).model_copy(update={"run": "other"}) for n in range(40)]
    place.send(RECORDS, record("a"), *other, record("b"), *other)
    shown = promptmill("tail", "--run", "test", "--json", "-n", 2).json_lines
    assert sorted(found["messages"][0]["content"] for found in shown) == ["a", "b"]


def test_people_see_one_line_each(promptmill: Promptmill, place: Place) -> None:
    place.send(RECORDS, record("Why\nis\x1b[31m it?"))
    place.send(REJECTS, reject("b"))
    place.send(DEAD_LETTERS, letter("c"), letter(None, offset=9))
    (line,) = promptmill("tail").out.splitlines()
    assert "test sft   4.00  Why is\\x1b[31m it? → answer 0 to" in line
    (line,) = promptmill("tail", "--kind", "rejects").out.splitlines()
    assert "below_limit" in line
    assert "reward 1.0 is below 2.0" in line
    lines = promptmill("tail", "--kind", "dead").out.splitlines()
    assert len(lines) == 2
    assert all("instruct dead deadline  prompts-0@" in line for line in lines)


def test_bytes_that_are_no_record_are_passed_over(promptmill: Promptmill, place: Place) -> None:
    place.send_bytes(RECORDS, b"garbage")
    place.send(RECORDS, record("a"))
    assert len(promptmill("tail", "--json").json_lines) == 1


def test_following_shows_what_lands_at_once(place: Place) -> None:
    environment = {
        **os.environ,
        "PROMPTMILL_HOME": str(place.stack.home),
        "PROMPTMILL_TOPIC_PREFIX": place.prefix,
    }
    place.send(RECORDS, record("before"))
    with subprocess.Popen(
        [sys.executable, "-m", "promptmill.cli", "tail", "--follow", "--json"],
        stdout=subprocess.PIPE,
        env=environment,
    ) as process:
        try:
            assert process.stdout is not None
            assert b"before" in process.stdout.readline()
            for text in ("first", "second"):
                place.send(RECORDS, record(text))
                assert text.encode() in process.stdout.readline()
            process.send_signal(2)
            assert process.wait(timeout=60) == 130
        finally:
            process.kill()
