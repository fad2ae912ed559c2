"""A query reads one database, which another process may be writing, and can change nothing."""

import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import polars as pl
import pytest

from pipeline.reading import QueryError, query
from pipeline.serving import serving
from pipeline.store import Store
from schemas.frames import FACTS
from tests.pipeline.store_rows import T0, commit, facts, flags

ONE = commit(facts(scans=[{"carrier": "SF", "waybill_no": "1", "status": "delivered"}]), flags({"flag_id": "f"}))
ENDLESS = "SELECT count(*) FROM range(100_000_000_000) AS a(i), range(1000) AS b(j) WHERE i + j = -1"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(tmp_path / "flags.duckdb", copy_every_seconds=1000) as store:
        store.commit(
            commit(facts(scans=[{"carrier": "SF", "waybill_no": "1", "status": "delivered"}]), flags({"flag_id": "f"}))
        )
        yield store


@pytest.fixture(scope="module")
def closed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    with Store(tmp_path_factory.mktemp("closed") / "flags.duckdb") as store:
        store.commit(ONE)
    return store.path


@pytest.fixture
def path(closed: Path, tmp_path: Path) -> Path:
    shutil.copytree(closed.parent, tmp_path, dirs_exist_ok=True)
    return tmp_path / closed.name


@pytest.fixture(scope="module")
def served(closed: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("served")
    shutil.copytree(closed.parent, folder, dirs_exist_ok=True)
    with Store(folder / closed.name, copy_every_seconds=1000) as store, serving(store, 60):
        store._copy_finished(wait=True)
        yield store.path


@pytest.fixture(params=["the files", "the writer"])
def either(request: pytest.FixtureRequest, closed: Path, served: Path) -> Path:
    """A database that nobody writes, and an equal one that answers through its writer: whatever is asked, both must do the same."""
    if request.param == "the files":
        return closed
    assert "read through its writer" in str(query(served, "SELECT 1").source_note)
    return served


def count(path: Path, table: str = "scans") -> object:
    return query(path, f"SELECT count(*) FROM {table}").frame.item()


def files(path: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in path.parent.iterdir() if file.is_file()}


# What is read


def test_the_file_itself_is_read_while_nobody_writes_it(path: Path) -> None:
    answer = query(path, "SELECT status, occurred_at FROM scans")
    assert answer.source_note is None
    assert answer.frame.rows() == [("delivered", T0)]


def test_while_it_is_written_the_copy_is_read_and_the_note_says_how_old_it_is(store: Store) -> None:
    store.publish_copy()
    store._copy_finished(wait=True)
    store.publish_copy()
    store._copy_finished(wait=True)
    store.commit(commit(facts(scans=[{"carrier": "SF", "waybill_no": "2", "status": "delivered"}])))
    code = f"from pathlib import Path; from pipeline.reading import query; print(query(Path({str(store.path)!r}), 'FROM scans'))"
    found = subprocess.run(
        [sys.executable, "-c", code], cwd=Path(__file__).parents[2], capture_output=True, text=True, check=True
    )
    assert f"(1, {len(FACTS['scans'])})" in found.stdout
    assert "flags.duckdb is being written: read its copy flags.published.duckdb, as of 20" in found.stdout
    assert "+08:00 (" in found.stdout
    assert " s ago)" in found.stdout


def test_what_a_crash_left_in_the_log_is_read_too(path: Path) -> None:
    store = Store(path, copy_every_seconds=1000)
    store.commit(commit(facts(scans=[{"carrier": "SF", "waybill_no": "2", "status": "delivered"}])))
    store._let_go()
    before = files(path)
    assert Path(f"{path}.wal").exists()
    assert count(path) == 2
    assert files(path) == before


def test_a_torn_file_gives_way_to_its_copy(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:5000])
    answer = query(path, "SELECT count(*) FROM flags")
    assert answer.frame.item() == 1
    assert str(answer.source_note).startswith("flags.duckdb cannot be read: read its copy")
    path.unlink()
    assert str(query(path, "SELECT 1").source_note).startswith("flags.duckdb is missing: read its copy")


def test_the_copy_can_be_replaced_while_it_is_read(path: Path) -> None:
    copy = path.with_name("flags.published.duckdb")
    replacing = threading.Event()
    stop = threading.Event()

    def replace() -> None:
        content = copy.read_bytes()
        while not stop.is_set():
            other = copy.with_suffix(".other")
            other.write_bytes(content)
            other.replace(copy)
            replacing.set()

    thread = threading.Thread(target=replace)
    thread.start()
    try:
        replacing.wait()
        assert [count(copy, table) for table in ("scans", "flags", "shipments", "merchant_daily") * 5] == [
            1,
            1,
            0,
            0,
        ] * 5
    finally:
        stop.set()
        thread.join()


def test_nothing_is_created(tmp_path: Path) -> None:
    with pytest.raises(QueryError, match=r"no database at .*nowhere\.duckdb: name it with --db"):
        query(tmp_path / "nowhere.duckdb", "SELECT 1")
    (tmp_path / "text").write_text("order_id")
    with pytest.raises(QueryError, match="not a valid DuckDB database file"):
        query(tmp_path / "text", "SELECT 1")
    assert [file.name for file in tmp_path.iterdir()] == ["text"]


# What is refused


@pytest.mark.parametrize(
    ("sql", "message"),
    [
        ("DELETE FROM scans", "only SELECT and EXPLAIN are allowed, this is DELETE"),
        ("INSERT INTO scans (carrier) VALUES ('x')", "this is INSERT"),
        ("CREATE TEMP TABLE t AS SELECT 1", "this is CREATE"),
        ("ATTACH '{other}' AS other", "this is ATTACH"),
        ("COPY scans TO '{other}'", "this is COPY"),
        ("SET threads = 1", "this is SET"),
        ("PRAGMA version", "this is PRAGMA"),
        ("CHECKPOINT", "this is CALL"),
        ("INSTALL httpfs", "this is LOAD"),
        ("BEGIN", "this is TRANSACTION"),
        ("SELECT 1; SELECT 2", "one statement at a time, got 2"),
        ("", "one statement at a time, got 0"),
        ("WITH gone AS (DELETE FROM scans RETURNING *) SELECT * FROM gone", "read-only"),
        ("WITH new AS (INSERT INTO scans (carrier) VALUES ('x') RETURNING *) FROM new", "read-only"),
        ("WITH gone AS (UPDATE parcelwatch SET clock = NULL RETURNING *) FROM gone", "read-only"),
        ("UPDATE parcelwatch SET clock = NULL", "this is UPDATE"),
        ("DROP TABLE scans", "this is DROP"),
        ("ALTER TABLE scans ADD COLUMN x INT", "this is ALTER"),
        ("DETACH flags", "this is DETACH"),
        ("USE memory", "this is SET"),
        ("RESET threads", "this is SET"),
        ("PREPARE p AS DELETE FROM scans", "this is PREPARE"),
        ("EXECUTE p", "this is EXECUTE"),
        ("VACUUM", "this is VACUUM"),
        ("LOAD httpfs", "this is LOAD"),
        ("EXPORT DATABASE '{other}'", "this is EXPORT"),
        ("IMPORT DATABASE '{other}'", "this is PRAGMA"),
        ("CALL checkpoint()", "this is CALL"),
        ("FORCE CHECKPOINT", "this is CALL"),
        ("FROM checkpoint()", r"checkpoint\(\) is not allowed: a query reads this database only"),
        ("FROM force_checkpoint()", r"force_checkpoint\(\) is not allowed"),
        ('FROM system.main."CheckPoint"()', r"checkpoint\(\) is not allowed"),
        ("SELECT 1 WHERE 1 IN (SELECT 1 FROM checkpoint())", r"checkpoint\(\) is not allowed"),
        ("WITH x AS (FROM checkpoint()) FROM x", r"checkpoint\(\) is not allowed"),
        ("DESCRIBE FROM checkpoint()", r"checkpoint\(\) is not allowed"),
        ("FROM flags, LATERAL (FROM checkpoint())", r"checkpoint\(\) is not allowed"),
        ("EXPLAIN ANALYZE FROM checkpoint()", r"checkpoint\(\) is not allowed"),
        ("EXPLAIN (ANALYZE, FORMAT json) FROM checkpoint()", r"checkpoint\(\) is not allowed"),
        ("--\nEXPLAIN ANALYZE FROM checkpoint()", "this EXPLAIN is not allowed"),
        ("/* EXPLAIN */ EXPLAIN ANALYZE FROM checkpoint()", "this EXPLAIN is not allowed"),
        ("FROM query('FROM checkpoint()')", r"query\(\) is not allowed"),
        ("FROM query_table('flags')", r"query_table\(\) is not allowed"),
        (
            "FROM json_execute_serialized_sql(json_serialize_sql('FROM checkpoint()'))",
            r"json_execute_serialized_sql\(\) is not allowed",
        ),
        ("FROM truncate_duckdb_logs()", "is not allowed"),
        ("EXPLAIN DELETE FROM scans", "this EXPLAIN is not allowed"),
        ("EXPLAIN ANALYZE DELETE FROM scans", "this EXPLAIN is not allowed"),
        ("SELECT " + "1 + " * 500 + "1", "nested too deeply"),
        ("SELECT * FROM query('DELETE FROM scans RETURNING *')", "a query reads this database only"),
        ("FROM '{other}'", "does not exist|disabled"),
        ("FROM read_csv('{other}')", "a query reads this database only"),
        ("SELECT * FROM read_text('{other}')", "a query reads this database only"),
        ("FROM read_parquet('{other}')", "a query reads this database only"),
        ("FROM glob('/*')", "a query reads this database only"),
        ("FROM duckdb_secrets()", "a query reads this database only"),
        ("FROM enable_logging('QueryLog')", "a query reads this database only"),
        ("FROM sniff_csv('{other}')", "a query reads this database only"),
        ("FROM read_duckdb('{other}')", "a query reads this database only"),
        ("FROM sql", "Table with name sql does not exist"),
        ("SELECT * FROM flag", 'Did you mean "flags"'),
        ("SELEC 1", "syntax error"),
        ("SELECT 'x'::INT", "Could not convert string 'x'"),
    ],
)
def test_whatever_is_no_reading_of_this_database_is_refused_in_one_line(either: Path, sql: str, message: str) -> None:
    other = either.parent / "other.csv"
    other.write_text("a\n1\n")
    before = files(either)
    with pytest.raises(QueryError, match=message) as caught:
        query(either, sql.replace("{other}", str(other)))
    assert "\n" not in str(caught.value)
    assert files(either) == before


@pytest.mark.parametrize(
    "sql",
    [
        "SHOW TABLES",
        "DESCRIBE flags",
        "SUMMARIZE flags",
        "VALUES (1)",
        "FROM flags",
        "EXPLAIN FROM flags",
        "EXPLAIN ANALYZE FROM flags",
        "EXPLAIN (FORMAT json) (FROM flags)",
    ],
)
def test_other_ways_to_look_are_fine(either: Path, sql: str) -> None:
    assert query(either, sql).frame.height


def test_an_unknown_time_zone_is_refused(either: Path) -> None:
    for zone in ("Moon/Base", "", "../etc", "'"):
        with pytest.raises(QueryError, match="unknown time zone"):
            query(either, "SELECT 1", timezone=zone)


# How long it may take


def test_a_query_that_takes_too_long_is_stopped(either: Path) -> None:
    with pytest.raises(QueryError, match=r"stopped after 0\.2 s"):
        query(either, ENDLESS, timeout_seconds=0.2)


def test_ctrl_c_stops_a_query(either: Path) -> None:
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    timer = threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    try:
        with pytest.raises(KeyboardInterrupt):
            query(either, ENDLESS)
    finally:
        timer.join()
        signal.signal(signal.SIGINT, before)


# What an answer looks like


def test_times_and_days_are_in_the_zone_asked_for(either: Path) -> None:
    sql = "SELECT occurred_at, occurred_at::DATE AS day, occurred_at::VARCHAR AS text FROM scans"
    frame = query(either, sql).frame
    assert frame.schema["occurred_at"] == pl.Datetime("us", "Asia/Shanghai")
    assert frame.row(0) == (T0, date(2026, 3, 1), "2026-03-01 12:00:00+08")
    frame = query(either, sql, timezone="Pacific/Honolulu").frame
    assert frame.row(0) == (T0, date(2026, 2, 28), "2026-02-28 18:00:00-10")


def test_repeated_names_are_numbered_and_types_that_polars_lacks_are_text(either: Path) -> None:
    frame = query(
        either, "SELECT 1 AS a, 2 AS a, 3 AS a_1, INTERVAL 90 MINUTE AS left_, MAP {'k': 1} AS m, [INTERVAL 1 DAY] AS l"
    ).frame
    assert frame.columns == ["a", "a_2", "a_1", "left_", "m", "l"]
    assert frame.row(0) == (1, 2, 3, "01:30:00", "{k=1}", "[1 day]")


def test_sums_are_integers_and_evidence_is_text(either: Path) -> None:
    frame = query(
        either, "SELECT sum(i), sum(i) * 2::HUGEINT ** 80, (SELECT evidence FROM flags) FROM range(3) AS t(i)"
    ).frame
    assert frame.dtypes[0] == pl.Int64
    assert frame.item(0, 0) == 3
    assert frame.item(0, 2) == '{"limit_hours": 24}'


def test_every_type_of_duckdb_arrives(either: Path) -> None:
    frame = query(either, "FROM test_all_types()").frame
    assert frame.height == 3
    assert frame.width > 50
