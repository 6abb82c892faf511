"""Foreign text never reaches a terminal as it is."""

from __future__ import annotations

import io
import json
import logging
import re
import sys
from collections.abc import Iterator

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from promptmill.cli.commands.run import report_text
from promptmill.cli.output import note, print_bytes, print_json
from promptmill.runtime.telemetry.logs import set_up_logs
from promptmill.runtime.terminal import is_unsafe, printable, printable_json

HOSTILE = "\x1b]0;owned\x07\x1b[2J\x9b31m\u202eevil\u2066\r\x7f\u2028"
RAW = set("\x1b\x07\x9b\u202e\u2066\r\x7f\u2028")

OWN_COLOURS = re.compile(r"\x1b\[[0-9;]*m")


@pytest.fixture
def restored_logs() -> Iterator[None]:
    """The configuration of the logs as it was."""
    handlers, level = logging.root.handlers, logging.root.level
    yield
    logging.root.handlers, logging.root.level = handlers, level
    structlog.reset_defaults()


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain text", "plain text"),
        ("Привет, 世界, ümlaut", "Привет, 世界, ümlaut"),
        ("\x1b[31mred", r"\x1b[31mred"),
        ("\x9b31mred", r"\x9b31mred"),
        ("user\u202etxt.exe", r"user\u202etxt.exe"),
        ("\ud800 alone", r"\ud800 alone"),
        ("tag \U000e0041", r"tag \U000e0041"),
        ("👩\u200d👧 می\u200cخواهم", "👩\u200d👧 می\u200cخواهم"),
        ("a\nb\tc", r"a\nb\tc"),
    ],
)
def test_only_what_a_terminal_would_execute_is_escaped(text: str, shown: str) -> None:
    assert printable(text) == shown


def test_lines_keep_their_ends_but_no_carriage_return_that_overwrites_them() -> None:
    assert printable("good\n\tbad\rover", lines=True) == "good\n\tbad\\rover"


@given(st.text())
def test_the_result_has_no_unsafe_character_and_needs_no_second_pass(text: str) -> None:
    shown = printable(text)
    assert not any(map(is_unsafe, shown))
    assert printable(shown) == shown


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_a_json_document_keeps_its_value(text: str) -> None:
    document = printable_json(json.dumps({text: text}, ensure_ascii=False).encode())
    assert json.loads(document) == {text: text}
    assert not any(map(is_unsafe, document))


def test_the_commands_print_no_raw_character(capsys: pytest.CaptureFixture[str]) -> None:
    print_bytes(HOSTILE.encode())
    print_json({"answer": HOSTILE})
    note(HOSTILE)
    report_text("worker_ended", "instruct-0", {"code": HOSTILE})
    printed = capsys.readouterr()
    assert not RAW & set(printed.out + printed.err)
    assert json.loads(printed.out.splitlines()[1]) == {"answer": HOSTILE}


@pytest.mark.usefixtures("restored_logs")
@pytest.mark.parametrize("as_json", [True, False])
def test_a_log_shows_neither_raw_text_nor_local_variables(
    monkeypatch: pytest.MonkeyPatch, as_json: bool
) -> None:
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    set_up_logs("test", as_json=as_json)
    _fail_with_a_secret_variable()
    logging.getLogger("library").warning("said %s", HOSTILE)
    shown = OWN_COLOURS.sub("", stream.getvalue())
    assert "ended" in shown
    assert "owned" in shown
    assert "hunter2" not in shown
    assert not RAW & set(shown)


def _fail_with_a_secret_variable() -> None:
    variable = "hunter2"
    try:
        int(HOSTILE)
    except ValueError:
        structlog.get_logger("t").exception("ended", detail=HOSTILE, parts=[HOSTILE])
    assert variable
