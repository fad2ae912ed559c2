"""While a database is written, its writer answers queries: up to the last commit, and without harm to the stream."""

import signal
import socket
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from pipeline import serving as serving_module
from pipeline.reading import QueryError, query
from pipeline.serving import NobodyAnswersError, ask, serving, socket_path_of
from pipeline.store import Offset, Store
from tests.pipeline.commandline import ROOT, await_that, environment, ndjson, parcel, parcelwatch, start
from tests.pipeline.store_rows import at, commit, facts, flags, letters
from tests.pipeline.test_reading import ENDLESS

UTC = ZoneInfo("UTC")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(tmp_path / "flags.duckdb", copy_every_seconds=1000) as store:
        yield store


def commit_scan(store: Store, number: int) -> None:
    """One more scan and one more flag, together, with the offset and the clock."""
    scan = {"carrier": "SF", "waybill_no": str(number), "status": "delivered"}
    offsets = {"t/0": Offset(number, None)}
    store.commit(commit(facts(scans=[scan]), flags({"flag_id": str(number)}), None, offsets, at(number)))
    store.mark_published("flags", number)


def count(path: Path) -> int:
    """The scans that the writer has committed."""
    return int(ask(path, "SELECT count(*) FROM scans", UTC, None)[0][0].as_py())


# What is seen


def test_what_is_committed_is_visible_at_once(store: Store) -> None:
    with serving(store, 60):
        for number in range(3):
            assert count(store.path) == number
            commit_scan(store, number)
        answer = query(store.path, "FROM scans")
    assert answer.frame.height == 3
    assert answer.source_note == "flags.duckdb is being written: read through its writer, up to the last commit"


def test_what_is_being_committed_is_not_visible_and_what_is_visible_belongs_together(store: Store) -> None:
    both = "SELECT (SELECT count(*) FROM scans), (SELECT count(*) FROM flag_history)"
    seen: list[tuple[int, int]] = []
    done = threading.Event()

    def look() -> None:
        while not done.is_set():
            seen.append(query(store.path, both).frame.row(0))

    with serving(store, 60), ThreadPoolExecutor(2) as executor:
        looking = [executor.submit(look) for _ in range(2)]
        try:
            for number in range(60):
                commit_scan(store, number)
                store._copy_finished(wait=True)
                store.publish_copy()  # with a checkpoint each time
        finally:
            done.set()
        for one in looking:
            one.result()
        assert query(store.path, both).frame.row(0) == (60, 60)
    assert len(set(seen)) > 3
    assert all(scans == flagged for scans, flagged in seen)


def test_a_long_read_does_not_hold_up_commits_or_checkpoints(store: Store) -> None:
    with store.cursor() as reader, serving(store, 60):
        commit_scan(store, 0)
        reader.execute("BEGIN TRANSACTION READ ONLY")
        assert reader.execute("SELECT count(*) FROM scans").fetchall() == [(1,)]
        for number in range(1, 10):
            commit_scan(store, number)
            store._copy_finished(wait=True)
            store.publish_copy()
            assert not Path(f"{store.path}.wal").exists(), "the checkpoint was put off"
        assert reader.execute("SELECT count(*) FROM scans").fetchall() == [(1,)]
        assert count(store.path) == 10


def test_a_checkpoint_that_a_reader_is_in_the_way_of_is_put_off(store: Store) -> None:
    log = Path(f"{store.path}.wal")
    store.commit(commit(None, None, letters({"source": "t/0", "position": 1, "raw": b"", "error": "e"})))
    with store.cursor() as reader:
        reader.execute("BEGIN TRANSACTION READ ONLY")
        assert reader.execute("SELECT redriven_at FROM letters").fetchall() == [(None,)]
        store.commit(commit(redriven=[1]))  # an UPDATE, which the reader must not see
        store._copy_finished(wait=True)
        store.publish_copy()
        assert log.exists()
        assert reader.execute("SELECT redriven_at FROM letters").fetchall() == [(None,)]
    store.publish_copy()
    assert not log.exists()
    store._copy_finished(wait=True)
    assert query(store.copy_path, "FROM dead_letters").frame.is_empty()


def test_two_services_each_answer_for_their_own_database(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    with Store(tmp_path / "a.duckdb") as one, Store(tmp_path / "b.duckdb") as two, serving(one, 60), serving(two, 60):
        commit_scan(one, 0)
        assert (count(one.path), count(two.path)) == (1, 0)
        link = tmp_path / "other" / "c.duckdb"
        link.symlink_to(one.path)
        assert query(link, "FROM scans").frame.height == 1


def test_the_copy_can_be_asked_for(store: Store) -> None:
    with serving(store, 60):
        store._copy_finished(wait=True)
        commit_scan(store, 0)
        arguments = ("query", "SELECT count(*) AS n FROM scans", "--db", store.path, "--format", "csv")
        live = parcelwatch(*arguments, cwd=store.path.parent)
        assert (live.status, live.out) == (0, "n\n1\n")
        # A process of its own: this one could open the file that it has open already.
        command = [sys.executable, "-m", "pipeline", *map(str, arguments), "--copy"]
        done = subprocess.run(command, cwd=ROOT, env=environment(), capture_output=True, text=True, check=True)
        assert done.stdout == "n\n0\n"
        assert "read its copy" in done.stderr


def test_a_replay_answers_as_well(tmp_path: Path) -> None:
    db = tmp_path / "d.duckdb"
    with start("replay", "-", "--db", db, cwd=tmp_path, stdin=subprocess.PIPE) as replay:
        await_that(socket_path_of(db).exists)
        assert count(db) == 0
        _, complaint = replay.communicate(ndjson(parcel(1)).decode(), timeout=60)
    assert replay.returncode == 0, complaint
    assert not socket_path_of(db).exists()
    answer = query(db, "FROM scans")
    assert (answer.frame.height, answer.source_note) == (3, None)


# Who answers, and who may ask


def test_only_the_owner_may_ask(store: Store) -> None:
    with serving(store, 60):
        assert stat.S_IMODE(socket_path_of(store.path).stat().st_mode) == 0o600
    assert not socket_path_of(store.path).exists()


def test_the_socket_of_a_killed_service_does_no_harm(tmp_path: Path) -> None:
    path = tmp_path / "flags.duckdb"
    code = f"""
import sys
from pathlib import Path
from pipeline.store import Offset, Store
from pipeline.serving import serving
from tests.pipeline.test_serving import commit_scan
with Store(Path({str(path)!r})) as store, serving(store, 60):
    commit_scan(store, 0)
    print(flush=True)
    sys.stdin.read()
"""
    command = [sys.executable, "-c", code]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        assert count(path) == 1
        process.kill()
    assert socket_path_of(path).is_socket()
    answer = query(path, "FROM scans")
    assert answer.frame.height == 1
    assert answer.source_note is None
    with Store(path) as store, serving(store, 60):
        commit_scan(store, 1)
        assert count(path) == 2


def test_a_socket_that_cannot_be_made_is_no_reason_not_to_work(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / ("long" * 30)
    folder.mkdir()
    with Store(folder / "flags.duckdb") as store, serving(store, 60):
        commit_scan(store, 0)
        with pytest.raises(NobodyAnswersError):
            count(store.path)
    assert "no queries up to the last commit" in caplog.text
    assert query(store.path, "FROM scans").frame.height == 1


def test_queries_can_be_switched_off(store: Store) -> None:
    with serving(store, 0), pytest.raises(NobodyAnswersError):
        count(store.path)


def test_a_writer_that_goes_away_gives_way_to_the_files(tmp_path: Path) -> None:
    """One that listens and never answers, and one that hangs up in the middle of its answer."""
    with Store(tmp_path / "flags.duckdb") as store:
        commit_scan(store, 0)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(socket_path_of(store.path)))
        server.listen()

        def hang_up(said: bytes) -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(1000)
                connection.sendall(said)

        for said in (b"", b"\n\n", b'{"bytes": 100}\n', b'{"bytes": 100}\nxxx', b'{"byt'):
            with ThreadPoolExecutor(1) as executor:
                executor.submit(hang_up, said)
                answer = query(store.path, "FROM scans")
            assert answer.frame.height == 1
            assert answer.source_note is None


def test_nonsense_is_not_answered_and_the_next_query_is(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    with serving(store, 60):
        for nonsense in (
            b"GET / HTTP/1.1\r\n\r\n",
            b"{}\n",
            b'{"sql": 1, "timezone": "UTC", "seconds_max": null}\n',
            b"",
        ):
            with socket.socket(socket.AF_UNIX) as connection:
                connection.connect(str(socket_path_of(store.path)))
                connection.sendall(nonsense)
                connection.shutdown(socket.SHUT_WR)
                assert connection.recv(1000) == b""
        assert count(store.path) == 0
    assert caplog.text.count("a query could not be answered") == 3


# What a query may take


def test_a_query_that_takes_too_long_is_ended_and_the_stream_goes_on(store: Store) -> None:
    with serving(store, 1.0), ThreadPoolExecutor(1) as executor:
        endless = executor.submit(query, store.path, ENDLESS)
        number = 0
        while not endless.done():
            commit_scan(store, number)
            number += 1
        with pytest.raises(QueryError, match=r"stopped after 1 s: ask for less, or allow more time"):
            endless.result()
        assert number > 1
        assert count(store.path) == number


@pytest.mark.usefixtures("one_at_a_time")
def test_ctrl_c_in_the_client_ends_the_query_in_the_service(store: Store) -> None:
    with serving(store, 60), start("query", ENDLESS, "--db", store.path, cwd=store.path.parent) as client:
        running = "SELECT count(*) FROM duckdb_memory()"  # has its turn only when nothing else runs
        await_that(lambda: is_busy(store.path, running))
        client.send_signal(signal.SIGINT)
        _, complaint = client.communicate(timeout=30)
        assert client.returncode == 128 + signal.SIGINT, complaint
        await_that(lambda: not is_busy(store.path, running))


@pytest.fixture
def one_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving_module, "QUERIES_MAX", 1)


def is_busy(path: Path, sql: str) -> bool:
    """Whether a query has to wait for its turn: hang up after a moment, and see whether there was an answer."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(0.5)
        connection.connect(str(socket_path_of(path)))
        connection.sendall(b'{"sql": "%s", "timezone": "UTC", "seconds_max": null}\n' % sql.encode())
        try:
            return not connection.recv(1)
        except TimeoutError:
            return True


def test_more_queries_than_there_is_room_for_wait_for_their_turn(store: Store) -> None:
    with serving(store, 60), ThreadPoolExecutor(16) as executor:
        commit_scan(store, 0)
        answers = [executor.submit(count, store.path) for _ in range(16)]
        assert [answer.result() for answer in answers] == [1] * 16


def test_an_answer_that_is_too_large_is_refused(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving_module, "ANSWER_BYTES_MAX", 2**20)
    with serving(store, 60):
        assert query(store.path, "FROM range(100_000)").frame.height == 100_000
        with pytest.raises(QueryError, match=r"larger than 1 MB: ask for fewer rows or columns, or read the copy"):
            query(store.path, "FROM range(1_000_000_000_000)")


def test_queries_leave_the_stream_its_memory(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving_module, "MEMORY_SHARE_MAX", 0.002)
    with serving(store, 60):
        with pytest.raises(QueryError, match=r"stopped: queries have taken .* MB"):
            query(store.path, "SELECT list(i) FROM range(10_000_000_000) AS t(i)")
        commit_scan(store, 0)
        assert count(store.path) == 1
    assert not list(store.path.parent.glob("*.tmp")), "a query has spilled"


def test_closing_ends_the_queries_that_run(tmp_path: Path) -> None:
    with ThreadPoolExecutor(2) as executor:
        with Store(tmp_path / "flags.duckdb") as store, serving(store, 600):
            endless = [executor.submit(ask, store.path, ENDLESS, UTC, None) for _ in range(2)]
            time.sleep(0.3)
            began = time.monotonic()
        assert time.monotonic() - began < 20
        for one in endless:
            with pytest.raises(NobodyAnswersError):
                one.result()
    with Store(store.path, copy_every_seconds=1000):  # nothing holds the file any more
        pass


def test_what_duckdb_keeps_of_the_file_is_given_up_after_a_checkpoint(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    limit = store.sql("SELECT current_setting('memory_limit')").item()
    with serving(store, 60):
        for number in range(20):
            commit_scan(store, number)
        monkeypatch.setattr("pipeline.healing._CACHE_BYTES", 10 * 2**20)
        store._run("CREATE TABLE large AS SELECT hash(i) AS h FROM range(4_000_000) AS numbers(i)")
        store._copy_finished(wait=True)
        store.publish_copy()
        cached = store.sql("SELECT sum(memory_usage_bytes) FROM duckdb_memory() WHERE tag = 'BASE_TABLE'").item()
    assert cached <= 10 * 2**20
    assert store.sql("SELECT current_setting('memory_limit')").item() == limit
