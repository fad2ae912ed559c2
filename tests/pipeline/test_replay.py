import gzip
import json
import signal
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.decoding import Decoding
from pipeline.files import FileSourceError, open_readers
from pipeline.replay import Turn, beginnings, offset_key, turns
from tests.pipeline.commandline import (
    PAID_AT,
    at,
    await_that,
    in_a_process,
    ndjson,
    open_flags,
    parcel,
    parcelwatch,
    rows,
    start,
    tick,
    write,
    written,
)


class Wide(Decoding):
    """Has the next batch read early, as with processes, which batches as small as these do not start."""

    width = property(lambda _: 2)


DECODER = Wide(b"a key for tests, long enough")


def turns_of(paths: Sequence[Path], *, as_of: datetime | None = None, batch_records_max: int = 3) -> list[Turn]:
    readers = open_readers(paths, batch_records_max)
    return list(turns(readers, DECODER, as_of, beginnings(readers, DECODER)))


def times(turn: Turn) -> list[datetime]:
    return [time for frame in turn.told.facts.values() for time in frame["received_at"]]


# ---------------------------------------------------------------------------------------------------------------- the clock


@given(st.lists(st.lists(st.integers(0, 40), min_size=1, max_size=12).map(sorted), min_size=1, max_size=4))
def test_the_clock_never_runs_ahead_of_what_files_in_order_still_hold(
    tmp_path_factory: pytest.TempPathFactory, files: list[list[int]]
) -> None:
    folder = tmp_path_factory.mktemp("files")
    paths = [write(folder / f"{n}.ndjson", [tick(hour) for hour in hours]) for n, hours in enumerate(files)]
    taken = turns_of(paths)
    for number, turn in enumerate(taken[:-1]):
        unread = [moment for later in taken[number + 1 :] for moment in times(later)]
        assert turn.clock is None or turn.clock <= min(unread)
    everything = [moment for turn in taken for moment in times(turn)]
    assert len(everything) == sum(map(len, files))
    assert taken[-1].clock == max(everything)


def test_files_that_follow_one_another_are_read_one_after_the_other(tmp_path: Path) -> None:
    paths = [write(tmp_path / f"{n}.ndjson", [tick(10 * n + hour) for hour in range(7)]) for n in (1, 0, 2)]
    taken = turns_of(paths)
    clocks = [turn.clock for turn in taken]
    assert clocks == sorted(clocks, key=lambda clock: clock or PAID_AT)
    assert [next(iter(turn.offsets)) for turn in taken] == [
        str(path) for path in (paths[1], paths[0], paths[2]) for _ in range(3)
    ]


def test_a_file_that_begins_with_garbage_holds_the_clock_until_it_is_looked_into(tmp_path: Path) -> None:
    late = write(tmp_path / "late.ndjson", [tick(hour) for hour in range(10, 20)])
    (tmp_path / "garbage.ndjson").write_bytes(b"garbage\n" * 4 + ndjson([tick(1)]))
    taken = turns_of([late, tmp_path / "garbage.ndjson"])
    assert [turn.clock for turn in taken[:1]] == [None]
    assert taken[-1].clock == datetime.fromisoformat(at(19))
    assert sum(len(turn.told.letters) for turn in taken) == 4


def test_nothing_but_garbage_moves_no_clock(tmp_path: Path) -> None:
    (tmp_path / "garbage.ndjson").write_bytes(b"garbage\n" * 4)
    (tmp_path / "empty.ndjson").write_bytes(b"")
    assert [turn.clock for turn in turns_of([tmp_path])] == [None, None]
    (last,) = turns_of([tmp_path / "empty.ndjson"])
    assert (last.clock, last.offsets, last.told.events) == (None, {}, 0)


def test_as_of_leaves_out_what_came_later_and_the_clock_ends_there(tmp_path: Path) -> None:
    path = write(tmp_path / "a.ndjson", [tick(hour) for hour in range(10)])
    as_of = datetime.fromisoformat(at(4))
    taken = turns_of([path], as_of=as_of, batch_records_max=2)
    assert [moment for turn in taken for moment in times(turn)] == [
        datetime.fromisoformat(at(hour)) for hour in range(5)
    ]
    assert max(turn.clock for turn in taken if turn.clock) == taken[-1].clock == as_of
    assert {source for turn in taken for source in turn.offsets} == {offset_key(str(path), as_of)}


def test_everything_before_damage_is_judged_before_it_is_told(tmp_path: Path) -> None:
    events = ndjson([tick(hour / 100) for hour in range(2000)])
    path = tmp_path / "torn.ndjson.gz"
    path.write_bytes(gzip.compress(events)[:-9])
    taken = []
    with pytest.raises(FileSourceError, match=r"torn\.ndjson\.gz"):
        taken.extend(turns(open_readers([path], 500), DECODER, None, {}))
    assert sum(turn.told.events for turn in taken) > 1900


# --------------------------------------------------------------------------------------------------------------- end to end


def test_a_replay_flags_what_was_violated_and_says_where_to_look(tmp_path: Path) -> None:
    events = [*parcel(1), *parcel(2, picked_up=False), tick(40)]
    path = write(tmp_path / "a.ndjson", events)
    path.write_bytes(path.read_bytes() + ndjson([events[0]]) + b"garbage\n")
    done = parcelwatch("replay", "a.ndjson", "--db", "d.duckdb", cwd=tmp_path)
    assert (done.status, done.complaint) == (0, "")
    assert f"{len(events) + 1} events" in done.out
    assert f"{len(events)} new, 1 known already; dead letters: 1" in done.out
    assert "no_pickup_scan  1 opened" in done.out
    assert f"judged as of {at(40)}" in done.out
    assert "parcelwatch report --db d.duckdb" in done.out
    assert open_flags(tmp_path / "d.duckdb") == {("no_pickup_scan", "o2")}


def test_a_replay_goes_on_where_the_last_one_ended(tmp_path: Path) -> None:
    path = write(tmp_path / "a.ndjson", parcel(1))
    arguments = ("replay", path, "--db", tmp_path / "d.duckdb")
    assert "5 events" in parcelwatch(*arguments, cwd=tmp_path).out
    assert "nothing to read" in parcelwatch(*arguments, cwd=tmp_path).out
    path.write_bytes(path.read_bytes() + ndjson([tick(30)]))
    assert "1 events" in parcelwatch(*arguments, cwd=tmp_path).out
    path.write_bytes(ndjson([tick(31)]) + path.read_bytes())
    assert "1 new, 6 known already" in parcelwatch(*arguments, cwd=tmp_path).out


def test_the_same_files_from_standard_input_are_read_again_each_time(tmp_path: Path) -> None:
    arguments = ("replay", "-", "--db", "d.duckdb")
    assert "5 new, 0 known" in in_a_process(*arguments, cwd=tmp_path, stdin=ndjson(parcel(1))).out
    assert "0 new, 5 known" in in_a_process(*arguments, cwd=tmp_path, stdin=ndjson(parcel(1))).out


def test_as_of_shows_what_was_known_then_and_a_later_one_goes_on(tmp_path: Path) -> None:
    write(tmp_path / "a.ndjson", [*parcel(1, picked_up=False), tick(40)])
    arguments = ("replay", "a.ndjson", "--db", "d.duckdb", "--as-of")
    db = tmp_path / "d.duckdb"
    assert parcelwatch(*arguments, at(25), cwd=tmp_path).status == 0
    assert open_flags(db) == set()
    assert parcelwatch(*arguments, at(25.5), cwd=tmp_path).status == 0
    assert open_flags(db) == {("no_pickup_scan", "o1")}
    assert rows("FROM scans", db) == []
    refused = parcelwatch(*arguments, at(25), cwd=tmp_path)
    assert refused.status == 1
    assert "new --db" in refused.complaint
    assert refused.complaint.count("\n") == 1
    assert "1 new, 2 known already" in parcelwatch("replay", "a.ndjson", "--db", "d.duckdb", cwd=tmp_path).out


def test_an_interrupted_replay_goes_on_to_the_same_flags(tmp_path: Path) -> None:
    events = [event for n in range(600) for event in parcel(n, picked_up=n % 3 > 0, paid=n / 20)]
    path = write(tmp_path / "a.ndjson", events)
    whole, parts = tmp_path / "whole.duckdb", tmp_path / "parts.duckdb"
    assert parcelwatch("replay", path, "--db", whole, cwd=tmp_path).status == 0
    slow = ("replay", path, "--db", parts, "--batch-records-max", "40")
    log = Path(f"{parts}.wal")
    with start(*slow, cwd=tmp_path) as process:
        await_that(lambda: written(log)[1] > 40_000)
        process.send_signal(signal.SIGINT)
        _, complaint = process.communicate(timeout=30)
    assert (process.returncode, complaint.count("\n")) == (130, 1)
    assert "run the same command again" in complaint
    done = parcelwatch(*slow, cwd=tmp_path)
    assert done.status == 0
    assert "0 known already" in done.out
    assert "nothing to read" not in done.out
    facts = "SELECT (SELECT count(*) FROM scans) AS scans, (SELECT count(*) FROM uploads) AS uploads"
    assert rows(facts, parts) == rows(facts, whole)
    assert open_flags(parts) == open_flags(whole) != set()


def test_a_replay_keeps_what_was_heard_of_within_the_retention_of_its_own_clock(tmp_path: Path) -> None:
    days = (0, 1, 30, 60)
    write(tmp_path / "a.ndjson", [event for day in days for event in parcel(day, paid=24 * day)] + [tick(24 * 61)])
    keeping = ("--db", "d.duckdb", "--retention-days", "38", "--batch-records-max", "5")
    done = parcelwatch("replay", "a.ndjson", *keeping, cwd=tmp_path)
    assert "rows purged, older than the retention of 38 days: 10" in done.out, done.complaint
    db = tmp_path / "d.duckdb"
    kept = [{"order_id": "o30"}, {"order_id": "o60"}]
    assert rows("SELECT order_id FROM orders WHERE paid_at IS NOT NULL ORDER BY ALL", db) == kept
    again = in_a_process("replay", "-", *keeping, cwd=tmp_path, stdin=ndjson(parcel(0)))
    assert "dead letters: 2" in again.out
    assert open_flags(db) == set()
    redriving = ("redrive", "--db", "d.duckdb", "--retention-days")
    assert "2 dead letters tried: 0 are events now, 2 are dead still" in parcelwatch(*redriving, "38", cwd=tmp_path).out
    assert len(rows("FROM dead_letters", db)) == 2
    assert "2 dead letters tried: 2 are events now" in parcelwatch(*redriving, "100", cwd=tmp_path).out
    assert rows("FROM dead_letters", db) == []


@pytest.mark.parametrize("name", ["missing.ndjson", "text.txt", "folder", "torn.ndjson.gz", "text.parquet"])
def test_a_file_that_cannot_be_read_is_named_in_one_line_and_no_database_is_made(tmp_path: Path, name: str) -> None:
    (tmp_path / "text.txt").write_text("hello")
    (tmp_path / "text.parquet").write_text("hello")
    (tmp_path / "folder").mkdir()
    (tmp_path / "torn.ndjson.gz").write_bytes(gzip.compress(ndjson(parcel(1)))[:40])
    done = parcelwatch("replay", name, "--db", "d.duckdb", cwd=tmp_path)
    assert (done.status, done.complaint.count("\n")) == (1, 1)
    assert done.complaint.startswith("parcelwatch: ")
    assert name in done.complaint
    if not name.startswith("torn"):
        assert not (tmp_path / "d.duckdb").exists()


def test_the_hash_key_is_made_once_and_never_replaced(tmp_path: Path) -> None:
    write(tmp_path / "a.ndjson", parcel(1))
    arguments = ("replay", "a.ndjson", "--db", "d.duckdb")
    assert parcelwatch(*arguments, cwd=tmp_path).status == 0
    key = tmp_path / "d.duckdb.key"
    assert key.stat().st_mode & 0o777 == 0o600
    content = key.read_bytes()
    assert parcelwatch(*arguments, cwd=tmp_path).status == 0
    assert key.read_bytes() == content
    key.unlink()
    refused = parcelwatch(*arguments, cwd=tmp_path)
    assert refused.status == 1
    assert "d.duckdb.key is missing" in refused.complaint
    assert not key.exists()
    assert parcelwatch(*arguments, cwd=tmp_path, PARCELWATCH_HASH_KEY=content.decode().strip()).status == 0
    for origin, environment in (
        ("the setting hash_key", {"PARCELWATCH_HASH_KEY": "another one 0123456789"}),
        ("d.duckdb.key", {}),
    ):
        key.write_bytes(content[::-1])
        refused = parcelwatch(*arguments, cwd=tmp_path, **environment)
        assert refused.status == 1
        assert f"{origin} is not the key that d.duckdb was begun with" in refused.complaint


def test_a_database_that_is_still_empty_takes_another_hash_key(tmp_path: Path) -> None:
    write(tmp_path / "nothing.ndjson", [])
    write(tmp_path / "a.ndjson", parcel(1))
    assert parcelwatch("replay", "nothing.ndjson", "--db", "d.duckdb", cwd=tmp_path).status == 0
    key = {"PARCELWATCH_HASH_KEY": "another one 0123456789"}
    assert parcelwatch("replay", "a.ndjson", "--db", "d.duckdb", cwd=tmp_path, **key).status == 0


def test_the_summary_of_a_parquet_folder_and_its_lines_agree(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    lines = [json.dumps(event) for event in [*parcel(1), *parcel(2, picked_up=False), tick(40)]]
    pl.DataFrame({"value": lines}).write_parquet(folder / "a.parquet")
    done = parcelwatch("replay", "folder", "--db", "d.duckdb", cwd=tmp_path)
    assert "8 events" in done.out, done.complaint
    assert open_flags(tmp_path / "d.duckdb") == {("no_pickup_scan", "o2")}
