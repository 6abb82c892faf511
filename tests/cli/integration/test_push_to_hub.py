"""``promptmill export --push-to-hub``, against a hub on loopback."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from cli.integration.conftest import Tables
from cli.integration.hub_server import HubServer, hub_server
from promptmill.devstack.ports import LOOPBACK, free_port
from promptmill.lake.ports import TableName
from support.commands import Promptmill
from support.store import record

pytestmark = pytest.mark.real

TOKEN = "planted-token-of-the-hub"  # noqa: S105 - of a test's server
NAME = "my-team/my-answers"


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    with hub_server(TOKEN) as running:
        monkeypatch.setenv("HF_ENDPOINT", running.url)
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        yield running


@pytest.fixture
def filled(tables: Tables) -> Tables:
    tables.take(TableName.RECORDS, *(record(str(number)) for number in range(8)))
    return tables


def files_of(folder: Path) -> dict[str, bytes]:
    """The content of each file, by its path in the folder."""
    return {
        str(file.relative_to(folder)): file.read_bytes()
        for file in folder.rglob("*")
        if file.is_file()
    }


def test_the_folder_is_uploaded_to_a_private_data_set(
    promptmill: Promptmill, filled: Tables, hub: HubServer, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    done = promptmill("export", "--out", out, "--push-to-hub", NAME, "--json")
    assert done.code == 0, done.err
    assert hub.files == {NAME: files_of(out)}
    assert {"README.md", "manifest.json"} < hub.files[NAME].keys()
    assert hub.private == {NAME: True}
    assert done.json["pushed"]["dataset"] == NAME
    assert done.json["pushed"]["commit"] in done.json["pushed"]["url"]
    assert done.json["rows"] == 8


def test_a_further_upload_replaces_the_data_files_of_the_first(
    promptmill: Promptmill, filled: Tables, hub: HubServer, tmp_path: Path
) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    options = ("--push-to-hub", NAME, "--public")
    assert promptmill("export", "--out", first, "--validation", "0.5", *options).code == 0
    assert hub.private == {NAME: False}
    done = promptmill("export", "--out", second, *options)
    assert done.code == 0, done.err
    assert f"uploaded to {NAME}: {hub.url}" in done.out
    assert len(files_of(first)) > len(files_of(second)), "the second has no validation split"
    assert hub.files[NAME] == files_of(second)


def test_a_wrong_token_is_refused_before_anything_is_exported(
    promptmill: Promptmill,
    filled: Tables,
    hub: HubServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HF_TOKEN", "another-planted-token")
    done = promptmill("export", "--out", tmp_path / "out", "--push-to-hub", NAME)
    assert done.code == 78
    assert f"{hub.url} refused {NAME}" in done.err
    assert "HF_TOKEN" in done.err
    assert "another-planted-token" not in done.err + done.out
    assert not (tmp_path / "out").exists()


def test_a_refused_upload_keeps_the_export_and_says_how_to_go_on(
    promptmill: Promptmill, filled: Tables, hub: HubServer, tmp_path: Path
) -> None:
    hub.fails = 403
    out = tmp_path / "out"
    done = promptmill("export", "--out", out, "--push-to-hub", NAME)
    assert done.code == 78
    assert "planted failure" in done.err
    assert f"hf upload {NAME} {out} . --repo-type dataset --delete 'data/*'" in done.err
    assert "manifest.json" in files_of(out)
    assert hub.files == {NAME: {}}


def test_a_card_that_the_hub_refuses_is_named(
    promptmill: Promptmill, filled: Tables, hub: HubServer, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    done = promptmill("export", "--out", out, "--license", "mine", "--push-to-hub", NAME)
    assert done.code == 78
    assert "refused the dataset card" in done.err
    assert '"license" must be one of' in done.err
    assert hub.files == {NAME: {}}


def test_a_hub_that_does_not_answer_is_named(
    promptmill: Promptmill, filled: Tables, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = f"http://{LOOPBACK}:{free_port()}"
    monkeypatch.setenv("HF_ENDPOINT", address)
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    done = promptmill("export", "--out", tmp_path / "out", "--push-to-hub", NAME)
    assert done.code == 75
    assert f"{address} does not answer" in done.err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--push-to-hub", "answers"), "write OWNER/NAME"),
        (("--push-to-hub", NAME, "--follow"), "contradicts --follow"),
    ],
)
def test_what_cannot_be_uploaded_is_refused(
    promptmill: Promptmill, tmp_path: Path, arguments: tuple[str, ...], said: str
) -> None:
    done = promptmill("export", "--out", tmp_path / "out", *arguments)
    assert done.code in {2, 78}
    assert said in " ".join(done.err.replace("│", " ").split())


def test_one_file_cannot_be_uploaded(
    promptmill: Promptmill, hub: HubServer, tmp_path: Path
) -> None:
    done = promptmill("export", "--out", tmp_path / "out.jsonl", "--push-to-hub", NAME)
    assert done.code == 78
    assert "needs a folder with a dataset card" in done.err
