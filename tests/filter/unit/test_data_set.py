"""Which data set the claims are about: the store's own, however its folder is spelt."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from promptmill.filter.data_set import DataSet
from promptmill.filter.published import PublishedDecisions
from promptmill.lake.ports import TableName
from promptmill.runtime.errors import Misconfigured, Unavailable
from support.store import DeltaStore

pytestmark = pytest.mark.real


class Patience:
    """Counts the waits instead of waiting; at one of them the store is started."""

    def __init__(self, folder: Path, starts_at: int) -> None:
        self.folder = folder
        self.starts_at = starts_at
        self.waits = 0

    async def __call__(self, _seconds: float) -> None:
        self.waits += 1
        if self.waits == self.starts_at:
            create(self.folder)


def create(folder: Path) -> None:
    DeltaStore(folder).sink().open()


async def the_id(folder: str) -> str:
    return await DataSet(folder, "").wait()


async def test_a_filter_waits_until_the_store_has_created_its_tables(tmp_path: Path) -> None:
    patience = Patience(tmp_path / "store", starts_at=3)
    assert await DataSet(str(tmp_path / "store"), "").wait(patience)
    assert patience.waits == 3


async def test_a_waiting_filter_says_what_it_waits_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    await DataSet(str(tmp_path / "store"), "").wait(Patience(tmp_path / "store", starts_at=2))
    told = capsys.readouterr().out
    assert told.count("waiting_for_store") == 1
    assert "promptmill run store" in told


async def test_the_id_survives_a_move_and_differs_between_stores(tmp_path: Path) -> None:
    create(tmp_path / "one")
    create(tmp_path / "two")
    before = await the_id(str(tmp_path / "one"))
    shutil.move(tmp_path / "one", tmp_path / "elsewhere")
    assert await the_id(f"{tmp_path}/./elsewhere/") == before
    assert await the_id(str(tmp_path / "two")) != before


async def test_claims_are_not_rebuilt_without_the_tables(tmp_path: Path) -> None:
    create(tmp_path / "store")
    data_set = DataSet(str(tmp_path / "store"), "")
    await data_set.wait()
    shutil.rmtree(tmp_path / "store")
    with pytest.raises(Unavailable, match="there is no table records"):
        await anext(aiter(PublishedDecisions(data_set, "127.0.0.1:1", "")()))


async def test_claims_are_not_rebuilt_from_another_store(tmp_path: Path) -> None:
    create(tmp_path / "store")
    data_set = DataSet(str(tmp_path / "store"), "")
    await data_set.wait()
    shutil.rmtree(tmp_path / "store")
    create(tmp_path / "store")
    with pytest.raises(Misconfigured, match="no longer holds the data set"):
        await data_set.snapshot(TableName.RECORDS)


async def test_tables_of_other_topics_are_refused(tmp_path: Path) -> None:
    create(tmp_path / "store")
    with pytest.raises(Misconfigured, match="PROMPTMILL_TOPIC_PREFIX"):
        await DataSet(str(tmp_path / "store"), "other.").wait()
