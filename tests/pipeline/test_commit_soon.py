"""Commits under way: who asks the store waits for them, and hears of one that failed."""

from pathlib import Path
from threading import Event

import duckdb
import polars as pl
import pytest

from pipeline.store import Offset, Store
from tests.pipeline.store_rows import at, commit, facts


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "flags.duckdb"


def scan(waybill_no: str, hours: float) -> dict[str, object]:
    return {"carrier": "SF", "waybill_no": waybill_no, "status": "picked_up", "occurred_at": at(hours)}


def scans(store: Store) -> int:
    return int(store.sql("SELECT count(*) FROM scans").item())


def test_a_commit_that_comes_soon_is_there_when_the_store_is_asked(path: Path) -> None:
    with Store(path) as store:
        for hour in range(1, 4):
            offsets = {"t/0": Offset(hour, None)}
            store.commit_soon(commit(facts(scans=[scan(str(hour), hour)]), offsets=offsets, clock=at(hour)))
        assert (store.clock(), store.offsets()) == (at(3), {"t/0": Offset(3, None)})
        assert scans(store) == 3
        store.commit_soon(commit(facts(scans=[scan("4", 4)]), clock=at(4)))
    with Store(path) as store:
        assert scans(store) == 4


def test_a_commit_that_fails_later_is_told_to_who_asks_next(path: Path) -> None:
    store = Store(path)
    store.commit_soon(commit(facts(scans=[scan("1", 1)]), clock=at(1)))
    store.settle()
    store._database.execute("DROP TABLE scans CASCADE")
    store.commit_soon(commit(facts(scans=[scan("2", 2)]), clock=at(2)))
    with pytest.raises(duckdb.Error):
        store.clock()
    store.__exit__(duckdb.Error, duckdb.Error(), None)


def test_nothing_is_written_behind_a_commit_that_failed(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store(path)
    begun, append = Event(), store._append

    def fail_at_scans(table: str, frame: pl.DataFrame) -> None:
        begun.wait()
        if table == "scans":
            raise duckdb.IOException("no space left")
        append(table, frame)

    monkeypatch.setattr(store, "_append", fail_at_scans)
    store.commit_soon(commit(facts(scans=[scan("1", 1)]), offsets={"t/0": Offset(1, None)}))
    store.commit_soon(commit({}, offsets={"t/0": Offset(2, None)}))  # waits behind it, and would succeed
    begun.set()
    with pytest.raises(duckdb.IOException):
        store.offsets()
    store.__exit__(duckdb.Error, duckdb.Error(), None)
    with Store(path) as again:
        assert (again.offsets(), scans(again)) == ({}, 0)
