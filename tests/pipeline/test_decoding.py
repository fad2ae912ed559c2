"""The decoding process: it tells what a decoder here tells, and nothing is lost when it ends."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from pipeline.decode import Decoded, Decoder
from pipeline.decoding import LARGE_BATCH, Decoding
from pipeline.files import open_readers
from pipeline.formats import Formats
from pipeline.kafka_connecting import SourceError
from pipeline.kafka_source import KafkaBatch
from pipeline.service import arrivals, has_backlog
from pipeline.simulate import START, Simulation, write_file
from pipeline.told import Told, told
from schemas.carriers import load_tables
from schemas.frames import FACTS, RECORDS

KEY = b"a key for tests"
READY_SECONDS_MAX = 60
LETTER = pl.DataFrame({"value": [b"no event"], "source": "t/0", "position": [7], "recorded_at": None}, RECORDS)


def until_true(condition: Callable[[], bool]) -> None:
    give_up_at = time.monotonic() + READY_SECONDS_MAX
    while not condition():
        assert time.monotonic() < give_up_at
        time.sleep(0.02)


@pytest.fixture(scope="module")
def stream(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("decoding") / "stream.ndjson"
    write_file(path, Simulation(300, 5, invalid_share=0.01))
    return path


@pytest.fixture
def decoding() -> Iterator[Decoding]:
    with closing(Decoding(KEY, records_min=1)) as decoding:
        until_ready(decoding)
        yield decoding


def until_ready(decoding: Decoding) -> None:
    def decodes_beside() -> bool:
        decoding.decode(LETTER)
        return decoding.beside > 0

    until_true(decodes_beside)


def all_decode(decoding: Decoding, processes: int) -> bool:
    """Whether each process has one at work, and one waiting."""
    told_before, count = decoding.beside, 2 * processes
    for answer in [decoding.begin(LETTER) for _ in range(count)]:
        answer()
    return decoding.beside == told_before + count


def assert_same(answer: Told, decoded: Decoded) -> None:
    """Of each record the same, in whatever order."""
    wanted = told(decoded)
    assert answer.facts.keys() == wanted.facts.keys()
    for table in wanted.facts:
        assert answer.facts[table].schema == wanted.facts[table].schema == FACTS[table]
        assert_frame_equal(
            *(each.facts[table].with_columns(each.rows[table].alias("row")).sort("row") for each in (answer, wanted))
        )
    assert_frame_equal(answer.letters.sort("position"), wanted.letters.sort("position"))
    assert_frame_equal(answer.records, wanted.records)


def processes_of(pid: int) -> list[int]:
    """The processes that `pid` has started to decode."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            status, command = (folder / "status").read_text(), (folder / "cmdline").read_text()
        except OSError:
            continue
        if f"PPid:\t{pid}\n" in status and "pipeline.decoding" in command:
            found.append(int(folder.name))
    return found


def test_it_tells_what_a_decoder_here_tells(decoding: Decoding, stream: Path) -> None:
    here = Decoder(KEY)
    [reader] = open_readers([stream], 1000)
    batches = [batch.records for batch in iter(reader.read, None)]
    # Batch sizes go up and down, so that what was written before is longer, and shorter.
    batches += [batches[0][:3], pl.concat(batches), LETTER, batches[1].slice(17, 500)]
    told_before = decoding.beside
    for records in batches:
        for until in (None, START + timedelta(days=3)):
            assert_same(decoding.decode(records, until), here.decode(records, until))
    assert decoding.beside - told_before == 2 * len(batches)
    assert decoding.decode(pl.concat(batches)).letters.height > 10


def test_tables_of_events_too(decoding: Decoding, stream: Path, tmp_path: Path) -> None:
    lines = [json.loads(line) for line in stream.read_bytes().splitlines()[:400] if line.endswith(b"}")]
    table = tmp_path / "stream.parquet"
    pl.DataFrame([line for line in lines if line.get("type") == "scan"], infer_schema_length=None).write_parquet(table)
    [reader] = open_readers([table])
    batch = reader.read()
    assert batch is not None
    answer = decoding.decode(batch.records)
    assert answer.events > 100
    assert_same(answer, Decoder(KEY).decode(batch.records))


def test_it_reads_formats_by_the_tables_of_the_settings(tmp_path: Path) -> None:
    (tmp_path / "own.toml").write_text('[[pattern]]\nmatch = "暗号"\nstatus = "delivered"\n')
    formats = Formats({"pushes": "kuaidi100"}, tables=load_tables(tmp_path))
    traces = [{"time": "2026-03-01 18:30:00", "context": "暗号"}]
    pushes = [{"lastResult": {"nu": "YT1", "com": "yuantong", "data": data}} for data in (traces, [])]
    values = [json.dumps(push).encode() for push in pushes]
    at = datetime(2026, 3, 4, tzinfo=UTC)
    records = pl.DataFrame({"value": values, "source": "pushes/0", "position": [0, 1], "recorded_at": at}, RECORDS)
    with closing(Decoding(KEY, formats, records_min=1)) as decoding:
        until_ready(decoding)
        silent = decoding.silent
        answer = decoding.decode(records)
    assert answer.facts["scans"]["status"].to_list() == ["delivered"]
    assert decoding.silent - silent == 1


@pytest.mark.parametrize("processes", [1, 2])
def test_several_are_under_way_at_once(stream: Path, processes: int) -> None:
    [reader] = open_readers([stream], 500)
    batches = [batch.records for batch in iter(reader.read, None)]
    with closing(Decoding(KEY, processes=processes, records_min=1)) as decoding:
        until_true(lambda: all_decode(decoding, processes))
        assert decoding.width == 1 + processes
        told_before = decoding.beside
        under_way = [decoding.begin(records) for records in batches]  # more than the processes take
        answers = [each() for each in reversed(under_way)][::-1]
        assert decoding.beside - told_before == 2 * processes < len(batches)
    here = Decoder(KEY)
    for each, records in zip(answers, batches, strict=True):
        assert_same(each, here.decode(records))


def test_what_was_polled_before_an_error_is_decoded_before_it_is_raised() -> None:
    def polled() -> Iterator[KafkaBatch]:
        for _ in range(3):
            yield KafkaBatch(LETTER, {}, None, {"t/0": 100})
        raise SourceError("the log is damaged")

    told = []
    with closing(Decoding(KEY, processes=1, records_min=1)) as decoding:
        until_ready(decoding)
        assert decoding.width == 2
        with pytest.raises(SourceError, match="damaged"):
            told.extend(arrival.told for arrival in arrivals(polled(), decoding))
    assert [each.letters.height for each in told] == [1, 1, 1]


def test_what_is_waiting_is_a_backlog_if_it_is_as_much_again_or_much_in_itself() -> None:
    small, large = pl.concat([LETTER] * 100), pl.concat([LETTER] * (2 * LARGE_BATCH))
    for records, lag, answer in (
        (small, 100, False),
        (small, 101, True),
        (large, LARGE_BATCH, False),
        (large, LARGE_BATCH + 1, True),
        (small.clear(), 0, False),
    ):
        assert has_backlog(KafkaBatch(records, {}, None, {"t/0": lag - lag // 2, "t/1": lag // 2})) is answer


def test_small_batches_are_decoded_here(stream: Path) -> None:
    [reader] = open_readers([stream], 100)
    batch = reader.read()
    assert batch is not None
    with closing(Decoding(KEY, records_min=101)) as decoding:
        for _ in range(3):
            decoding.decode(batch.records)
        assert processes_of(os.getpid()) == []
    assert decoding.beside == 0


def test_what_it_told_stays_when_more_is_told_and_after_it_has_ended(stream: Path) -> None:
    [reader] = open_readers([stream], 1000)
    batches = [batch.records for batch in iter(reader.read, None)]
    with closing(Decoding(KEY, records_min=1)) as decoding:
        until_ready(decoding)
        answers = [decoding.decode(records) for records in batches]
    here = Decoder(KEY)
    for each, records in zip(answers, batches, strict=True):
        assert_same(each, here.decode(records))


def test_a_file_will_do_where_memory_has_no_descriptor(stream: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "memfd_create")
    [reader] = open_readers([stream], 1000)
    batches = [batch.records for batch in iter(reader.read, None)]
    with closing(Decoding(KEY, processes=1, records_min=1)) as decoding:
        until_ready(decoding)
        for records in batches:
            assert_same(decoding.decode(records), Decoder(KEY).decode(records))
        assert decoding.beside == 1 + len(batches)


def test_if_it_is_killed_decoding_goes_on(stream: Path, caplog: pytest.LogCaptureFixture) -> None:
    [reader] = open_readers([stream], 1000)
    batch = reader.read()
    assert batch is not None
    with closing(Decoding(KEY, processes=1, records_min=1)) as decoding:
        until_ready(decoding)
        [pid] = processes_of(os.getpid())
        os.kill(pid, signal.SIGKILL)
        answers = [decoding.decode(batch.records) for _ in range(3)]
    assert decoding.beside == 1
    assert [each.events for each in answers] == [Decoder(KEY).decode(batch.records).events.height] * 3
    assert caplog.text.count("a decoding process has ended") == 1


def test_what_is_under_way_when_it_is_killed_is_decoded_here(stream: Path, caplog: pytest.LogCaptureFixture) -> None:
    [reader] = open_readers([stream], 1000)
    batches = [batch.records for batch in iter(reader.read, None)][:3]
    with closing(Decoding(KEY, processes=1, records_min=1)) as decoding:
        until_ready(decoding)
        [pid] = processes_of(os.getpid())
        os.kill(pid, signal.SIGSTOP)  # so that it has none of them done
        under_way = [decoding.begin(records) for records in batches]
        os.kill(pid, signal.SIGKILL)
        answers = [each() for each in under_way]
        assert decoding.beside == 1
    for each, records in zip(answers, batches, strict=True):
        assert_same(each, Decoder(KEY).decode(records))
    assert caplog.text.count("a decoding process has ended") == 1


def test_its_processes_start_before_the_key_is_known(stream: Path) -> None:
    [reader] = open_readers([stream], 1000)
    batch = reader.read()
    assert batch is not None
    with closing(Decoding(None, processes=1, records_min=1)) as decoding:
        decoding.expect(1)
        assert len(processes_of(os.getpid())) == 1
        assert decoding.width == 1
        decoding.use_key(KEY)
        until_ready(decoding)
        assert_same(decoding.decode(batch.records), Decoder(KEY).decode(batch.records))
        assert decoding.beside == 2
    with closing(Decoding(None, processes=1, records_min=1)) as decoding:
        decoding.expect(1)  # and it may never be
    assert processes_of(os.getpid()) == []


def test_processes_that_there_is_no_work_for_are_ended() -> None:
    with closing(Decoding(KEY, processes=2, records_min=2)) as decoding:
        decoding.expect(2)
        assert len(processes_of(os.getpid())) == 2
        decoding.expect(1)
        assert processes_of(os.getpid()) == []
        assert decoding.decode(LETTER).letters.height == 1


def test_it_ends_with_who_has_started_it() -> None:
    script = (
        "import time\n"
        "from pipeline.decoding import Decoding\n"
        "from tests.pipeline.test_decoding import LETTER\n"
        "decoding = Decoding(b'key', processes=1, records_min=1)\n"
        "while not decoding.beside:\n"
        "    decoding.decode(LETTER)\n"
        "print('ready', flush=True)\n"
        "time.sleep(600)\n"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == "ready\n"
        [pid] = processes_of(parent.pid)
        os.kill(
            pid, signal.SIGINT
        )  # Ctrl-C, or a manager that ends all processes of a service: it has to finish its work
        os.kill(pid, signal.SIGTERM)
        time.sleep(0.1)
        assert processes_of(parent.pid) == [pid]
        parent.kill()
    until_true(lambda: not Path(f"/proc/{pid}").exists() or "State:\tZ" in Path(f"/proc/{pid}/status").read_text())
