"""A writer may be killed at any instant, and its file torn as a kill can tear it: what was acknowledged is there, once."""

import fcntl
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from pipeline import copying
from pipeline.store import Offset, Store, StoreError
from tests.pipeline.committing import ROWS, commit_number
from tests.pipeline.store_rows import at

BLOCK = 256 * 1024
HEADERS = 3 * 4096
KILLS = int(os.environ.get("PARCELWATCH_KILLS", "20"))


class Writer:
    """The child process `tests.pipeline.committing`."""

    def __init__(self, path: Path, *arguments: object) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.pipeline.committing", str(path), *map(str, arguments)],
            cwd=Path(__file__).parents[2],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def start(self) -> None:
        assert self._process.stdin
        self._process.stdin.write("go\n")
        self._process.stdin.flush()

    def wait_for(self, word: str) -> None:
        assert self._process.stdout
        while self._process.stdout.readline() != f"{word}\n":
            assert self._process.poll() is None, "the writer ended"

    def kill(self) -> list[int]:
        """Kill it now; return the numbers that it acknowledged and that were not read yet."""
        self._process.send_signal(signal.SIGKILL)
        output, _ = self._process.communicate()
        return [int(line) for line in output.splitlines()]


def committed(store: Store) -> int:
    """Return how many numbers were committed, after checking that each is there in full, once, and nothing else is."""
    count = store.offsets().get("t/0", Offset(0, None)).position
    scans = store.sql(
        "SELECT carrier::INT, count(*), count(DISTINCT event_id) FROM scans GROUP BY carrier ORDER BY 1"
    ).rows()
    assert scans == [(number, ROWS, ROWS) for number in range(count)]
    changes = store.sql("SELECT seq, flag_id, change FROM flag_log ORDER BY seq").rows()
    assert changes == [
        row
        for number in range(count)
        for row in ((2 * number + 1, str(number), "opened"), (2 * number + 2, str(number // 2), "amended"))
    ]
    dead = store.sql("SELECT id, position, redriven_at IS NULL FROM letters ORDER BY id").rows()
    assert dead == [(number + 1, number, number % 2 == 1 or number + 1 == count) for number in range(count)]
    assert store.clock() == (at(count - 1) if count else None)
    return count


def test_nothing_acknowledged_is_lost_or_doubled_by_kills_at_any_instant(tmp_path: Path) -> None:
    path = tmp_path / "flags.duckdb"
    seed = int(os.environ.get("PARCELWATCH_SEED", "7"))
    random_ = random.Random(seed)
    acknowledged, found = 0, 0
    following = Writer(path, 0)
    for kill in range(KILLS):
        writer, following = following, Writer(path, 0)
        writer.start()
        if kill % 4:  # else while it opens
            writer.wait_for(str(acknowledged))
        threading.Event().wait(random_.uniform(0, 0.3))  # for nothing: the instant is what is varied
        acknowledged = max([acknowledged, *(number + 1 for number in writer.kill())])
        with Store(path, copy_every_seconds=1000) as store:
            found = committed(store)
            assert acknowledged <= found, f"PARCELWATCH_SEED={seed}"
            acknowledged = found
            store._let_go()
    following.kill()
    assert found > KILLS, "too slow to say anything"


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """What a writer left that was killed with 20 numbers in the file and its copy, and 3 more in the log.

    It was killed at a point of a checkpoint, the only time when a kill may tear the file; or ("none") just before.
    """

    @cache
    def killed_at(point: str) -> Path:
        path = tmp_path_factory.mktemp("killed") / "flags.duckdb"
        writer = Writer(path, 1000, 19, point)
        writer.start()
        writer.wait_for("stopped")
        writer.kill()
        return path

    return killed_at


def copied(path: Path, folder: Path) -> Path:
    shutil.copytree(path.parent, folder, dirs_exist_ok=True)
    return folder / path.name


@pytest.fixture
def path(killed: Callable[[str], Path], tmp_path: Path) -> Path:
    return copied(killed("none"), tmp_path)


def overwrite(path: Path, offset: int, content: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(content)


def tear(block: int) -> Callable[[Path], None]:
    def damage(path: Path) -> None:
        blocks = (path.stat().st_size - HEADERS) // BLOCK
        overwrite(path, HEADERS + block % blocks * BLOCK, random.Random(block).randbytes(BLOCK))

    return damage


def truncate(share: float) -> Callable[[Path], None]:
    return lambda path: os.truncate(path, int(path.stat().st_size * share))


@pytest.mark.parametrize(
    "damage",
    [
        *(tear(block) for block in range(6)),
        *(truncate(share) for share in (0, 0.001, 0.5, 0.999)),
        lambda path: overwrite(path, 0, bytes(4096)),
        lambda path: overwrite(path, 0, bytes(HEADERS)),
        lambda path: path.rename(f"{path}.broken-1"),
        Path.unlink,
    ],
    ids=[
        *(f"block {block} torn" for block in range(6)),
        *(f"cut to {share}" for share in ("0", "0.1 %", "50 %", "99.9 %")),
        "main header zeroed",
        "all headers zeroed",
        "killed while healing",
        "missing",
    ],
)
def test_a_file_that_cannot_be_read_is_restored_in_full(path: Path, damage: Callable[[Path], None]) -> None:
    content = path.read_bytes()
    damage(path)
    with Store(path) as store:
        assert committed(store) == 23
        if store.healed is not None:  # else the block was one that nothing uses
            assert "restored from its copy and log, nothing was lost" in str(store.healed)
            assert path.read_bytes() == content
        commit_number(store, 23)
    with Store(path) as store:
        assert (committed(store), store.healed) == (24, None)


@pytest.mark.parametrize("point", ["BEFORE_HEADER", "AFTER_FREE_LIST_WRITE", "BEFORE_WAL_FINISH", "BEFORE_TRUNCATE"])
def test_a_file_torn_in_any_phase_of_a_checkpoint_is_restored_in_full(
    killed: Callable[[str], Path], tmp_path: Path, point: str
) -> None:
    blocks = (killed(point).stat().st_size - HEADERS) // BLOCK
    assert blocks > 4
    healed = 0
    for number, damage in enumerate(
        [lambda path: None, truncate(0.5), *(tear(block) for block in range(1, blocks, 3))]
    ):
        path = copied(killed(point), tmp_path / str(number))
        damage(path)
        with Store(path, copy_every_seconds=1000) as store:
            assert committed(store) == 23, number
            assert number or not store.healed
            healed += store.healed is not None
            store._let_go()
    assert healed > 1


@pytest.mark.parametrize("share", [0, 0.0001, 0.2, 0.5, 0.9, 0.9999])
def test_of_a_log_that_was_cut_all_whole_commits_are_kept(path: Path, share: float) -> None:
    truncate(share)(Path(f"{path}.wal"))
    with Store(path) as store:
        count = committed(store)
        assert 20 <= count <= 22
        commit_number(store, count)
        store._let_go()
    with Store(path) as store:
        assert committed(store) == count + 1


@pytest.mark.parametrize("damage_file", [False, True], ids=["file good", "file torn too"])
@pytest.mark.parametrize("place", [0.01, 0.5, 0.9])
def test_a_log_with_a_wrong_byte_is_kept_up_to_there(path: Path, place: float, damage_file: bool) -> None:
    log = Path(f"{path}.wal")
    content = log.read_bytes()
    spot = int(len(content) * place) + 10
    overwrite(log, spot, bytes([content[spot] ^ 0xFF]))
    if damage_file:
        truncate(0.5)(path)
    with Store(path) as store:
        assert committed(store) == 20 + int(place * 3)
        assert "bytes of its log" in str(store.healed)
        assert "what is missing is read again from the sources" in str(store.healed)
    assert log.with_name("flags.duckdb.broken-1.wal").read_bytes() != content
    with Store(path) as store:
        assert (committed(store), store.healed) == (20 + int(place * 3), None)


def test_a_copy_that_is_a_checkpoint_behind_is_taken_without_the_log_that_does_not_fit(path: Path) -> None:
    copy = path.with_name("flags.published.duckdb")
    behind = copy.read_bytes()
    with Store(path) as store:
        store.close()
    copy.write_bytes(behind)
    store = Store(path, copy_every_seconds=1000)
    commit_number(store, 23)
    store._let_go()
    copy.write_bytes(behind)
    path.unlink()
    with Store(path) as store:
        assert committed(store) == 20
        assert "restored from its copy and" in str(store.healed)


@pytest.mark.parametrize("copy", [None, b"", b"no database"])
def test_without_a_copy_that_can_be_read_nothing_is_touched(path: Path, copy: bytes | None) -> None:
    published = path.with_name("flags.published.duckdb")
    published.unlink()
    if copy is not None:
        published.write_bytes(copy)
    truncate(0.5)(path)
    before = {file.name: file.read_bytes() for file in path.parent.iterdir() if file.suffix != ".lock"}
    with pytest.raises(StoreError, match=r"no copy to restore it from .*nothing was changed"):
        Store(path)
    assert {file.name: file.read_bytes() for file in path.parent.iterdir() if file.suffix != ".lock"} == before


# The copy


def test_after_closing_the_copy_equals_the_file(path: Path) -> None:
    with Store(path) as store:
        commit_number(store, 23)
    copy = path.with_name("flags.published.duckdb")
    assert copy.read_bytes() == path.read_bytes()
    assert (copy.stat().st_mtime_ns, copy.stat().st_size) == (path.stat().st_mtime_ns, path.stat().st_size)
    assert not Path(f"{path}.wal").exists()


def test_a_copy_exists_soon_after_a_file_was_created(tmp_path: Path) -> None:
    store = Store(tmp_path / "flags.duckdb", copy_every_seconds=1000)
    store._copy_finished(wait=True)
    assert store.copy_path.read_bytes() == store.path.read_bytes()
    store.close()


def test_there_is_no_checkpoint_before_the_copy_of_the_last_one_is_finished(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    copy = path.with_name("flags.published.duckdb")
    copy.unlink()
    copy.mkdir()  # no copy can be renamed onto it
    content = path.read_bytes()
    with Store(path, copy_every_seconds=0) as store:
        for number in range(23, 30):
            commit_number(store, number)
            store._copy_finished(wait=True)
            assert path.read_bytes() == content
        assert "flags.published.duckdb could not be renewed" in caplog.text
        copy.rmdir()
        store.close()
    assert path.read_bytes() != content
    assert copy.read_bytes() == path.read_bytes()


def test_a_long_log_is_checkpointed_before_the_next_copy_is_due(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = Path(f"{path}.wal")
    with Store(path, copy_every_seconds=1000) as store:
        store._copy_finished(wait=True)
        store._copy_seconds = 0.0
        commit_number(store, 23)
        assert log.exists()
        monkeypatch.setattr("pipeline.store._LONG_LOG_BYTES", log.stat().st_size)
        store.tend()
        assert not log.exists()
        commit_number(store, 24)
        assert log.exists(), "a checkpoint before the copy of the last one is finished"


@pytest.mark.parametrize(("short_log_bytes", "deleted", "merged"), [(0, 0, False), (0, 1, True), (10**9, 0, True)])
def test_checkpoints_merge_what_is_small_or_thinned_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, short_log_bytes: int, deleted: int, merged: bool
) -> None:
    monkeypatch.setattr("pipeline.store._SHORT_LOG_BYTES", short_log_bytes)
    with Store(tmp_path / "flags.duckdb", copy_every_seconds=1000) as store:
        for number in range(20):
            commit_number(store, number)
            store.purge_letters(at(10**6), deleted)
            store._copy_finished(wait=True)
            store.publish_copy()
        row_groups = store.sql("SELECT count(DISTINCT row_group_id) FROM pragma_storage_info('scans')").item()
        assert (row_groups < 20) == merged


def test_a_writer_waits_for_the_copy_that_a_killed_one_left_running(path: Path) -> None:
    source = path.parent / "source"
    os.mkfifo(source)
    tmp = Path(f"{path.with_name('flags.published.duckdb')}.tmp")
    finished: list[Store] = []
    with tmp.open("w+b") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        orphan = subprocess.Popen(
            [sys.executable, copying.__file__, str(source), str(tmp.with_suffix("")), str(file.fileno())],
            pass_fds=(file.fileno(),),
            stdout=subprocess.PIPE,
        )
    opening = threading.Thread(target=lambda: finished.append(Store(path, copy_every_seconds=1000)))
    with source.open("wb") as pipe:  # the orphan is now copying
        opening.start()
        opening.join(0.3)
        assert not finished
        pipe.write(b"the last bytes")
    orphan.communicate()
    opening.join()
    assert committed(finished[0]) == 23
    finished[0].close()
