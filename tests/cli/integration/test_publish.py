"""Publishing on real Kafka: once each, whatever was published before and wherever that stands."""

from __future__ import annotations

import gzip
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import orjson
import pytest
from redis import Redis
from tokenizers import Tokenizer, models, pre_tokenizers

from cli.integration.conftest import Place, Tables
from promptmill_schemas import Prompt, decode
from promptmill_schemas.topics import PARTITIONS, PROMPTS
from support.commands import Promptmill
from support.waiting import eventually_now

pytestmark = pytest.mark.real
DATA = Path(__file__).resolve().parents[3] / "data"


def prompts_on_topic(place: Place) -> list[Prompt]:
    return [decode(Prompt, delivery.value) for delivery in place.read(PROMPTS)]


def write_lines(path: Path, *lines: object) -> Path:
    path.write_bytes(b"\n".join(orjson.dumps(line) for line in lines))
    return path


def test_a_file_is_published_once_however_often_it_is_sent(
    promptmill: Promptmill, place: Place, tmp_path: Path
) -> None:
    arguments = ("publish", DATA / "prompts.jsonl", "--run", "r", "--json")
    first = promptmill(*arguments, "--receipts", tmp_path / "receipts")
    assert (first.code, first.err) == (0, "")
    assert first.json == {"run": "r", "published": 250, "duplicate": 0, "invalid": 0}
    again = promptmill(*arguments)
    counts = {"run": "r", "published": 0, "duplicate": 250, "invalid": 0}
    assert again.json == {**counts, "pending": 250}
    assert "promptmill requeue --run r" in again.err
    found = prompts_on_topic(place)
    receipts = [orjson.loads(line) for line in (tmp_path / "receipts").read_bytes().splitlines()]
    assert [receipt["line"] for receipt in receipts] == list(range(1, 251))
    assert {receipt["prompt_id"] for receipt in receipts} == {p.prompt_id for p in found}
    assert len(found) == 250


def test_what_has_moved_from_the_topic_to_the_table_is_still_known(
    promptmill: Promptmill, place: Place, tables: Tables
) -> None:
    arguments = ("publish", DATA / "prompts.jsonl", "--run", "r", "--json")
    promptmill(*arguments)
    deliveries = place.read(PROMPTS)
    half = [d for d in deliveries if d.partition.number % 2]
    assert 0 < len(half) < 250
    tables.take_prompts(half)
    assert promptmill(*arguments).json["duplicate"] == 250
    tables.take_prompts(d for d in deliveries if not d.partition.number % 2)
    assert promptmill(*arguments).json["duplicate"] == 250
    assert len(place.read(PROMPTS)) == 250


def test_another_run_or_other_sampling_is_another_prompt(
    promptmill: Promptmill, place: Place, tmp_path: Path
) -> None:
    file = write_lines(tmp_path / "in", {"prompt": "Why?"})
    for arguments in (["a"], ["b"], ["a", "--n", "2"], ["a", "--temperature", "0.5"]):
        assert promptmill("publish", file, "--json", "--run", *arguments).json["published"] == 1
    prompts = prompts_on_topic(place)
    assert len({prompt.prompt_id for prompt in prompts}) == 4
    assert {(p.run, p.n, p.sampling.temperature) for p in prompts} == {
        ("a", 1, 1.0),
        ("b", 1, 1.0),
        ("a", 2, 1.0),
        ("a", 1, 0.5),
    }


def test_messages_are_keyed_by_their_prompt_and_spread_over_all_partitions(
    promptmill: Promptmill, place: Place
) -> None:
    promptmill("publish", DATA / "prompts.jsonl", "--run", "r")
    deliveries = place.read(PROMPTS)
    assert all(d.key == decode(Prompt, d.value).prompt_id.encode() for d in deliveries)
    assert {d.partition.number for d in deliveries} == set(range(PARTITIONS))


def test_bad_lines_are_named_and_the_good_ones_published(
    promptmill: Promptmill, place: Place, tmp_path: Path
) -> None:
    file, receipts = tmp_path / "in", tmp_path / "receipts"
    bad = (DATA / "examples" / "invalid.jsonl").read_bytes()
    long_line = b'{"prompt": "' + b"x" * 5_000_000 + b'"}'
    file.write_bytes(b'{"prompt": "Why?"}\n' + bad + long_line + b'\n{"prompt": "How?"}\n')
    done = promptmill("publish", file, "--run", "r", "--json", "--receipts", receipts)
    assert done.code == 3
    assert done.json == {"run": "r", "published": 2, "duplicate": 0, "invalid": 21}
    assert "line 12: sampling.temperature is nan" in done.err
    assert "… and 1 more" in done.err
    written = [orjson.loads(line) for line in receipts.read_bytes().splitlines()]
    errors = {receipt["line"]: receipt for receipt in written if "error" in receipt}
    assert sorted(errors) == list(range(2, 23))
    assert all(e["value"] and e["limit"] and e["remedy"] for e in errors.values())
    assert "5000014" in errors[22]["error"]
    assert [p.messages[0].content for p in prompts_on_topic(place)].count("Why?") == 1
    assert len(place.read(PROMPTS)) == 2


def test_a_compressed_array_is_published_once_and_a_cut_one_as_far_as_it_goes(
    promptmill: Promptmill, place: Place, tmp_path: Path
) -> None:
    rows = [{"prompt": f"Question {number}?"} for number in range(40)]
    written = orjson.dumps(rows, option=orjson.OPT_INDENT_2)
    cut, whole = tmp_path / "cut.json", tmp_path / "whole.json.gz"
    cut.write_bytes(written[: len(written) // 2])
    whole.write_bytes(gzip.compress(written))
    done = promptmill("publish", cut, "--run", "r", "--json")
    assert done.code == 78
    assert done.json["published"] == 20
    assert "truncated" in done.err
    done = promptmill("publish", whole, "--run", "r", "--json")
    assert done.code == 0
    assert (done.json["published"], done.json["duplicate"]) == (20, 20)
    assert len(place.read(PROMPTS)) == 40


def test_the_receipts_of_a_folder_name_the_file(
    promptmill: Promptmill, place: Place, tmp_path: Path
) -> None:
    folder, receipts = tmp_path / "in", tmp_path / "receipts"
    folder.mkdir()
    write_lines(folder / "a.jsonl", {"prompt": "Why?"})
    (folder / "b.csv").write_text("prompt,n\nHow?,2\nWho?,0\n")
    done = promptmill("publish", folder, "--run", "r", "--json", "--receipts", receipts)
    assert (done.code, done.json["published"]) == (3, 2)
    assert "b.csv line 3: n is 0" in done.err
    written = [orjson.loads(line) for line in receipts.read_bytes().splitlines()]
    assert [(r["file"], r["line"]) for r in written] == [("a.jsonl", 1), ("b.csv", 2), ("b.csv", 3)]
    assert {p.n for p in prompts_on_topic(place)} == {1, 2}


def test_a_summary_for_people_says_the_same(promptmill: Promptmill, tmp_path: Path) -> None:
    file = write_lines(tmp_path / "in", {"prompt": "Why?"}, {"prompt": "Why?"}, {"prompt": ""})
    done = promptmill("publish", file, "--run", "r")
    assert done.code == 3
    assert done.out == "run r: 1 published, 1 already published, 1 invalid\n"
    assert done.err.startswith("line 3: prompt is ''")


def test_tags_and_sampling_of_the_command_reach_the_prompts(
    promptmill: Promptmill, place: Place, tmp_path: Path
) -> None:
    file = write_lines(tmp_path / "in", {"prompt": "Why?", "id": "q", "tags": {"b": "line"}})
    flags = ("--tag", "a=1", "--tag", "b=flag", "--stop", "END", "--seed", "7", "--max-tokens", "9")
    promptmill("publish", file, "--run", "r", *flags)
    (prompt,) = prompts_on_topic(place)
    assert prompt.tags == {"a": "1", "b": "line", "custom_id": "q"}
    assert (prompt.sampling.stop, prompt.sampling.seed, prompt.sampling.max_tokens) == (
        ("END",),
        7,
        9,
    )


def test_garbage_on_the_topic_does_not_stop_publishing(
    promptmill: Promptmill, place: Place, tmp_path: Path
) -> None:
    place.send_bytes(PROMPTS, b"garbage", b"\xff", b"{}")
    file = write_lines(tmp_path / "in", {"prompt": "Why?"})
    assert promptmill("publish", file, "--run", "r", "--json").json["published"] == 1
    assert promptmill("publish", file, "--run", "r", "--json").json["duplicate"] == 1


def test_a_prompt_beyond_the_context_of_every_running_model_is_refused(
    promptmill: Promptmill, place: Place, tmp_path: Path
) -> None:
    tokenizer = Tokenizer(models.WordLevel({"?": 0}, "?"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    worker = {"stage": "instruct", "id": "i", "context_tokens": 5, "tokenizer": str(tmp_path)}
    file = write_lines(tmp_path / "in", {"prompt": "a b c d"}, {"prompt": "a b c d e"})
    with Redis.from_url(place.stack.redis) as redis:
        redis.set(f"promptmill:{place.prefix}worker:i", orjson.dumps(worker), ex=60)
        done = promptmill("publish", file, "--run", "r", "--json")
    assert (done.code, done.json["published"], done.json["invalid"]) == (3, 1, 1)
    assert "line 2: messages is 'a b c d e': the model's context holds 5 tokens" in done.err


def test_topics_that_do_not_exist_are_named(
    promptmill: Promptmill, place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PROMPTMILL_TOPIC_PREFIX", "nowhere.")
    file = write_lines(tmp_path / "in", {"prompt": "Why?"})
    done = promptmill("publish", file, "--run", "r", "--json")
    assert (done.code, done.out) == (78, "")
    assert "nowhere.prompts" in done.err


@contextmanager
def publishing(place: Place, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    """``promptmill publish -`` as a process, fed by the test."""
    environment = {
        **os.environ,
        "PROMPTMILL_HOME": str(place.stack.home),
        "PROMPTMILL_TOPIC_PREFIX": place.prefix,
        "PROMPTMILL_STORE": place.store,
    }
    command = [sys.executable, "-m", "promptmill.cli", "publish", "-", *arguments]
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def test_lines_of_a_pipe_are_published_while_it_is_open(place: Place) -> None:
    with publishing(place, "--run", "r", "--json") as process:
        assert process.stdin is not None
        process.stdin.write(b'{"prompt": "Why?"}\n')
        process.stdin.flush()
        eventually_now(lambda: len(place.read(PROMPTS)) == 1, 60)
        out, err = process.communicate(b'{"prompt": "How?"}', timeout=60)
    assert (process.returncode, err) == (0, b"")
    assert orjson.loads(out)["published"] == 2


def test_an_interrupted_publish_says_what_is_published(place: Place) -> None:
    with publishing(place, "--run", "r", "--json") as process:
        assert process.stdin is not None
        process.stdin.write(b'{"prompt": "Why?"}\n{"prompt": "How?"}\n{"prompt": "Wh')
        process.stdin.flush()
        eventually_now(lambda: len(place.read(PROMPTS)) == 2, 60)
        process.send_signal(signal.SIGINT)
        process.wait(timeout=60)
        assert process.stdout is not None
        assert process.stderr is not None
        out, err = process.stdout.read(), process.stderr.read()
    assert process.returncode == 130
    assert orjson.loads(out)["published"] == 2
    assert b"interrupted" in err
    assert b"Traceback" not in err
