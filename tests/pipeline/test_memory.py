"""Memory is written to a file and taken up again, or read anew where the file is of no use."""

import os
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from detectors._profiles import Profiles
from pipeline import memory
from pipeline.decoding import Decoding
from pipeline.engine import Engine
from pipeline.profiles import load_profiles
from pipeline.store import Store
from pipeline.told import NOTHING
from schemas.frames import RECORDS
from tests.pipeline.commandline import Event, ndjson, parcel

DECODER = Decoding(b"a key of these tests alone")
DAY = timedelta(days=1)


class Watched(Engine):
    """An engine that tells how it was restored."""

    how = ""

    def _restore_all(self) -> None:
        self.how = "all"
        super()._restore_all()

    def _restore_from(self, kept: memory.Kept) -> None:
        self.how = "kept"
        super()._restore_from(kept)

    def _judge_all(self) -> None:
        self.how += ", judged"
        super()._judge_all()


@pytest.fixture(autouse=True)
def _any_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "_ROWS_MIN", 1)


@pytest.fixture
def begin(tmp_path: Path):
    stores: list[Store] = []

    def begin(profiles: Profiles | None = None, every: float = 3600) -> Watched:
        while stores:
            stores.pop().close()
        stores.append(Store(tmp_path / "flags.duckdb"))
        return Watched(stores[0], profiles or load_profiles(), memory_every_seconds=every)

    yield begin
    while stores:
        stores.pop().close()


Begin = Callable[..., Watched]


def feed(engine: Engine, *events: Event) -> None:
    values = ndjson(events).splitlines()
    records = pl.DataFrame({"value": values, "source": "t/0", "position": range(len(values))}, schema_overrides=RECORDS)
    records = records.with_columns(recorded_at=pl.lit(None, RECORDS["recorded_at"]))
    told = DECODER.decode(records)
    assert told.events
    engine.process(told, {}, told.latest())


def open_flags(engine: Engine) -> set[tuple[str, str]]:
    return set(engine._store.flags().filter(pl.col("status") == "open").select("rule", "order_id").iter_rows())


def memory_files(folder: Path) -> list[Path]:
    return sorted(folder.glob("flags.memory-*"))


def test_a_start_takes_up_what_was_kept_and_what_came_after(begin: Begin, tmp_path: Path) -> None:
    engine = begin()
    assert engine.how == "all, judged"
    feed(engine, *parcel(1, picked_up=False), *parcel(2))
    engine.close()
    [kept] = memory_files(tmp_path)
    feed(engine, *parcel(3, picked_up=False))
    engine = begin()
    assert engine.how == "kept"
    assert engine.size()["orders"] == 3
    assert memory_files(tmp_path) == [kept]
    engine.process(NOTHING, {}, datetime.now(UTC) + 30 * DAY)
    assert {("no_pickup_scan", "o1"), ("no_pickup_scan", "o3")} <= open_flags(engine)
    assert ("no_pickup_scan", "o2") not in open_flags(engine)
    engine.close()
    [newer] = memory_files(tmp_path)
    assert newer != kept
    engine.close()
    assert memory_files(tmp_path) == [newer], "nothing has changed since"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="written at the end alone where there is no fork")
def test_a_child_writes_the_file_while_the_stream_goes_on(begin: Begin, tmp_path: Path) -> None:
    engine = begin(every=0.001)
    feed(engine, *parcel(1, picked_up=False))
    deadline = time.monotonic() + 60
    while engine._store.memory is None and time.monotonic() < deadline:
        time.sleep(0.01)
        engine.process(NOTHING, {}, None)
    assert [path.name for path in memory_files(tmp_path)] == [f"flags.memory-{engine._store.memory}.npz"]
    assert begin().how == "kept"


def test_a_child_that_fails_is_reported_and_leaves_nothing(
    begin: Begin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(memory.MemoryFile, "_write", fail)
    engine = begin(every=0.001)
    deadline = time.monotonic() + 60
    while "could not be written" not in caplog.text and time.monotonic() < deadline:
        feed(engine, *parcel(1, picked_up=False))
        time.sleep(0.01)
    assert "could not be written" in caplog.text
    engine.close()
    assert memory_files(tmp_path) == []
    assert begin().how == "all, judged"


@pytest.mark.parametrize("damage", ["cut", "flipped", "gone", "empty"])
def test_a_file_that_is_damaged_is_of_no_use(begin: Begin, tmp_path: Path, damage: str) -> None:
    engine = begin()
    feed(engine, *(event for number in range(50) for event in parcel(number, picked_up=False)))
    engine.close()
    [path] = memory_files(tmp_path)
    content = path.read_bytes()
    if damage == "gone":
        path.unlink()
    else:
        middle = len(content) // 2
        flipped = content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]
        path.write_bytes({"cut": content[:middle], "flipped": flipped, "empty": b""}[damage])
    engine = begin()
    assert engine.how == "all, judged"
    assert engine.size()["orders"] == 50
    assert memory_files(tmp_path) == []


def test_memory_of_another_version_is_of_no_use(begin: Begin, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = begin()
    feed(engine, *parcel(1))
    engine.close()
    monkeypatch.setattr(memory, "_made_by", lambda: "another")
    assert begin().how == "all, judged"


def test_memory_that_knows_more_than_the_database_is_of_no_use(begin: Begin, tmp_path: Path) -> None:
    engine = begin()
    feed(engine, *parcel(1, picked_up=False))
    engine.close()
    engine._store.close()
    older = (tmp_path / "flags.duckdb").read_bytes()
    engine = begin()
    feed(engine, *parcel(2, picked_up=False))
    engine.close()
    engine._store.close()
    (tmp_path / "flags.duckdb").write_bytes(older)
    engine = begin()
    assert engine.how == "all, judged"
    assert engine.size()["orders"] == 1


def test_other_rules_judge_everything_again(begin: Begin, tmp_path: Path) -> None:
    engine = begin()
    feed(engine, *parcel(1, picked_up=False))
    engine.process(NOTHING, {}, datetime.now(UTC) + 30 * DAY)
    assert ("no_pickup_scan", "o1") in open_flags(engine)
    engine.close()
    folder = tmp_path / "profiles"
    folder.mkdir()
    (folder / "default.toml").write_text(
        'platform = "wechat_channels"\ntitle = "x"\n[rules.no_pickup_scan]\nenabled = false\n'
    )
    engine = begin(load_profiles(folder))
    assert engine.how == "kept, judged"
    assert ("no_pickup_scan", "o1") not in open_flags(engine)


def test_a_sweep_copies_nothing_where_nothing_may_go(begin: Begin) -> None:
    engine = begin()
    feed(engine, *parcel(1))
    facts = engine._facts
    assert facts.forget_before(0) is facts
    swept = facts.forget_before(2**62)
    assert swept is not facts
    assert swept.size()["scans"] < facts.size()["scans"]
    assert facts.forget_before(2**62, 0.5) is not facts
    assert facts.forget_before(2**62, 1.0) is facts, "not worth it"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="written at the end alone where there is no fork")
def test_a_sweep_has_the_file_renewed_if_there_is_one(begin: Begin, tmp_path: Path) -> None:
    engine = begin()
    feed(engine, *parcel(1))
    engine._sweep(datetime.now(UTC) + 30 * DAY)
    feed(engine, *parcel(2))
    assert engine.sweeps == 1
    assert engine._memory is not None
    assert engine._memory._child is None
    engine.close()
    [kept] = memory_files(tmp_path)
    engine._sweep(datetime.now(UTC) + 30 * DAY)
    feed(engine, *parcel(3))
    assert engine.sweeps == 2
    assert engine._memory._child is not None
    engine.close()
    assert memory_files(tmp_path) != [kept]
