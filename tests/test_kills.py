"""kill -9 at any instant, then again: the same flags as an undisturbed run, every fact and dead letter once.

Run for real: the console program over a real file, and from a real Apache Kafka, killed at random moments after it has begun to
commit. `PARCELWATCH_SEED=7 pytest tests/test_kills.py` repeats the moments of one run as far as a machine can.
"""

import os
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from random import Random
from zoneinfo import ZoneInfo

import polars as pl
import pytest
from kafka import KafkaProducer

from pipeline.reading import query
from pipeline.serving import NobodyAnswersError, ask
from pipeline.simulate import Simulation, write_file
from tests.broker import Broker
from tests.pipeline.commandline import await_that, in_a_process, start, written

KILLS = 10
"""In each of the two tests."""
SEED = os.environ.pop("PARCELWATCH_SEED", None) or str(secrets.randbelow(10**6))
SETTINGS = {
    "PARCELWATCH_BATCH_RECORDS_MAX": "400",
    "PARCELWATCH_COPY_EVERY_SECONDS": "0.2",
    "PARCELWATCH_HTTP_PORT": "0",
}
FACTS = ("order_facts", "uploads", "scans", "replacements")


@pytest.fixture(scope="module")
def stream(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of some 15,000 events, some invalid."""
    out = tmp_path_factory.mktemp("stream") / "events.ndjson"
    write_file(out, Simulation(orders=1500, seed=11, invalid_share=0.005))
    return out


def outcome(db: Path) -> dict[str, list[tuple[object, ...]]]:
    """What must be the same: the flags that stand, how many of each fact, and the dead letters."""
    standing = "SELECT flag_id, rule, order_id, status, violated_at, evidence FROM flags WHERE status <> 'cleared' ORDER BY ALL"
    questions = {
        "flags": standing,
        "letters": "SELECT raw::VARCHAR FROM dead_letters ORDER BY ALL",
    }
    questions |= {table: f"SELECT count(*) FROM {table}" for table in FACTS}
    return {name: query(db, sql).frame.rows() for name, sql in questions.items()}


def twice_opened(db: Path) -> pl.DataFrame:
    """Flags that were opened twice without having been cleared in between."""
    return query(
        db, "SELECT flag_id FROM flag_history WHERE change = 'opened' GROUP BY flag_id HAVING count(*) > 1"
    ).frame


@contextmanager
def asked(db: Path) -> Iterator[None]:
    """Somebody asks all the time: checkpoints and kills happen while queries read."""
    done = threading.Event()

    def work() -> None:
        while not done.wait(0.01):
            with suppress(NobodyAnswersError):
                ask(db, "SELECT count(*) FROM shipments", ZoneInfo("UTC"), None)

    asking = threading.Thread(target=work)
    asking.start()
    try:
        yield
    finally:
        done.set()
        asking.join()


def kill_at_random(random: Random, db: Path, *arguments: str) -> None:
    """Run the program until it commits, and kill it a random while later, wherever it is."""
    log = db.with_name(f"{db.name}.wal")
    before = written(log)
    with start(*arguments, "--db", str(db), cwd=db.parent, **SETTINGS) as program, asked(db):
        await_that(lambda: program.poll() is not None or written(log) != before)
        time.sleep(random.uniform(0, 0.6))  # The moment of the kill is what is being tried.
        program.kill()


def test_a_file_replayed_through_kills_ends_like_one_replayed_in_peace(stream: Path, tmp_path: Path) -> None:
    random, db, peace = Random(SEED), tmp_path / "killed.duckdb", tmp_path / "peace.duckdb"
    for _ in range(KILLS):
        kill_at_random(random, db, "replay", str(stream))
    for file in (db, peace):
        done = in_a_process("replay", str(stream), "--db", file, cwd=tmp_path)
        assert done.status == 0, f"seed {SEED}: {done.complaint}"
    assert outcome(db) == outcome(peace), f"seed {SEED}"
    assert twice_opened(db).is_empty(), f"seed {SEED}"


def test_a_file_replayed_through_kills_while_it_purges_ends_like_one_replayed_in_peace(tmp_path: Path) -> None:
    random, db, peace = Random(SEED), tmp_path / "killed.duckdb", tmp_path / "peace.duckdb"
    stream, purging = tmp_path / "events.ndjson", ("--retention-days", "32", "--lateness-days", "1")
    write_file(stream, Simulation(orders=800, seed=5, days=150))
    for _ in range(KILLS // 2):
        kill_at_random(random, db, "replay", str(stream), *purging)
    for file in (db, peace):
        done = in_a_process("replay", str(stream), "--db", file, *purging, cwd=tmp_path, **SETTINGS)
        assert done.status == 0, f"seed {SEED}: {done.complaint}"
    assert outcome(db) == outcome(peace), f"seed {SEED}"
    purged = "SELECT table_name, rows FROM purged WHERE table_name IN ('scans', 'uploads', 'order_facts') ORDER BY ALL"
    assert query(db, purged).frame.rows() == query(peace, purged).frame.rows()
    assert query(db, purged).frame["rows"].min() > 100


@pytest.mark.kafka
def test_topics_read_through_kills_end_like_a_replay_of_the_same_events(
    kafka: Broker, new_topic: Callable[..., str], stream: Path, tmp_path: Path
) -> None:
    random, db, peace = Random(SEED), tmp_path / "killed.duckdb", tmp_path / "peace.duckdb"
    orders, scans = new_topic(3), new_topic(3)
    producer = KafkaProducer(bootstrap_servers=kafka.bootstrap)
    for number, line in enumerate(stream.read_bytes().splitlines()):
        producer.send(scans if b'"scan"' in line else orders, line, partition=number % 3)
    producer.flush()
    producer.close()
    run = ["run", "--bootstrap-servers", kafka.bootstrap, "--orders-topic", orders, "--scans-topic", scans]
    for _ in range(KILLS):
        kill_at_random(random, db, *run)
    done = in_a_process(*run, "--until-caught-up", "--db", db, cwd=tmp_path, PARCELWATCH_HTTP_PORT="0")
    assert done.status == 0, f"seed {SEED}: {done.complaint}"
    clock = query(db, "SELECT clock FROM parcelwatch").frame["clock"][0]
    assert isinstance(clock, datetime)
    done = in_a_process("replay", str(stream), "--as-of", clock.isoformat(), "--db", peace, cwd=tmp_path)
    assert done.status == 0, done.complaint
    assert outcome(db) == outcome(peace), f"seed {SEED}"
    assert twice_opened(db).is_empty(), f"seed {SEED}"
