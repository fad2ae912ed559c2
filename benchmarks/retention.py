# ruff: noqa: SLF001 - it measures step by step what runs by itself otherwise
"""What keeping only so many days saves, and what purging costs the stream. See README.md beside this file.

python -m benchmarks.retention [--orders N] [--days N] [--rows N]
"""

import argparse
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

from pipeline import purging
from pipeline.decoding import Decoding
from pipeline.engine import Engine
from pipeline.files import open_readers
from pipeline.profiles import load_profiles
from pipeline.purging import Purger
from pipeline.simulate import Simulation, write_file
from pipeline.store import Store
from pipeline.told import NOTHING

ORDERS_DEFAULT = 30_000
DAYS_DEFAULT = 100
ROWS_DEFAULT = 10_000_000
LATENESS = timedelta(days=1)
RETENTION = timedelta(days=32)
"""The shortest that `lateness_days = 1` allows."""
SHOWN_EVERY_DAYS = 10
BIG_DAYS = 60
SCANS_PER_PARCEL = 10
APPENDED_ROWS = 10_000
START = datetime(2026, 1, 1, tzinfo=UTC)


class Spent(NamedTuple):
    """Time of this process, seconds."""

    wall: float
    cpu: float

    def __str__(self) -> str:
        return f"{self.wall:.3f} s ({self.cpu:.3f} s CPU)"


@contextmanager
def timed(spent: list[Spent]) -> Iterator[None]:
    """Add to `spent` what is done meanwhile."""
    wall, cpu = time.perf_counter(), time.process_time()
    yield
    spent.append(Spent(time.perf_counter() - wall, time.process_time() - cpu))


def longest(spent: list[Spent]) -> Spent:
    """The longest of them, by each measure."""
    return Spent(max((one.wall for one in spent), default=0), max((one.cpu for one in spent), default=0))


def checkpointed(store: Store, spent: list[Spent]) -> int:
    """Checkpoint now, and return the size of the file, bytes."""
    store._copy_finished(wait=True)
    with timed(spent):
        store.publish_copy()
    store._copy_finished(wait=True)
    return store.path.stat().st_size


def streamed(stream: Path, db: Path, retention: timedelta | None, batch_records: int) -> dict[int, int]:
    """Judge the stream with or without purging, and return the size of the database by simulated day."""
    sizes: dict[int, int] = {}
    stalls: list[Spent] = []
    checkpoints: list[Spent] = []
    events, started, first = 0, time.process_time(), None
    with Store(db, copy_every_seconds=86_400) as store:
        engine, decoder = (
            Engine(store, load_profiles(), LATENESS, retention=retention),
            Decoding(b"benchmark", processes=0),
        )
        with closing(Purger(store, engine, retention)) as purger:
            [reader] = open_readers([stream], batch_records)
            for batch in iter(reader.read, None):
                told = decoder.decode(batch.records)
                latest = told.latest()
                assert latest is not None, "every batch has events"
                events += told.events
                engine.process(told, {reader.name: batch.offset}, latest)
                with timed(stalls):
                    purger.step()
                first = first or latest
                day = (latest - first).days // SHOWN_EVERY_DAYS * SHOWN_EVERY_DAYS
                if day not in sizes:
                    sizes[day] = checkpointed(store, checkpoints)
            purger.finish()
            sizes[(latest - first).days] = checkpointed(store, checkpoints)
            rows = sum(store.sql("SELECT rows FROM purged")["rows"])
        facts = store.sql(
            "SELECT (SELECT count(*) FROM scans) + (SELECT count(*) FROM order_facts) + (SELECT count(*) FROM uploads)"
        )
    print(
        f"{'all kept' if retention is None else f'{retention.days} days kept':14} {events:>10,} events, "
        f"{time.process_time() - started:.1f} s CPU, {rows:,} rows purged; longest step {longest(stalls)}, "
        f"longest checkpoint {longest(checkpoints)}; {sizes[max(sizes)] / max(1, facts.item()):.0f} bytes an event in the file"
    )
    return sizes


def over_the_days(folder: Path, orders: int, days: int) -> None:
    """Print how the file grows with and without retention."""
    stream = folder / "events.ndjson"
    write_file(stream, Simulation(orders, 1, days=days, invalid_share=0))
    sizes = {
        name: streamed(stream, folder / f"{name}.duckdb", retention, max(100, orders * 3 // days))
        for name, retention in (("all", None), ("purged", RETENTION))
    }
    print(f"{'day':>6} {'all kept':>12} {f'{RETENTION.days} days':>12}   file, MB")
    for day, size in sizes["all"].items():
        print(f"{day:>6} {size / 1e6:>12.1f} {sizes['purged'].get(day, 0) / 1e6:>12.1f}")


def fill(store: Store, first: int, count: int, days: float, since: datetime) -> None:
    """Append scans of parcels that are on the way for a week, and the parcels' uploads, evenly over `days`."""
    every_us = max(1, int(days * 86_400_000_000) // count)
    week = 7 * 86_400_000_000 // every_us // SCANS_PER_PARCEL + 1
    times = f"to_timestamp({since.timestamp()}) + to_microseconds((i - {first}) * {every_us}::BIGINT)"
    parcels = (
        f"SELECT i, {times} AS t, (i // {SCANS_PER_PARCEL} + hash(i) % {week})::BIGINT AS parcel "
        f"FROM range({first}, {first + count}) AS numbers(i)"
    )
    store._run(
        "INSERT INTO scans BY NAME SELECT ['zto', 'sf', 'yto'][1 + parcel % 3] AS carrier, "
        "'7800' || lpad((parcel * 7919 % 100000007)::VARCHAR, 10, '0') AS waybill_no, "
        "['in_transit', 'picked_up', 'delivered'][1 + i % 3] AS status, t AS occurred_at, t AS received_at, "
        "'e' || i AS event_id, '广东省' AS province, '深圳市' AS city, '南山营业部' || (parcel % 500) AS facility, "
        f"'快件已发出 下一站【杭州转运中心】' || (i % 1000) AS description, 440300 AS division FROM ({parcels})"
    )
    store._run(
        "INSERT INTO uploads BY NAME SELECT 'o' || parcel AS order_id, ['zto', 'sf', 'yto'][1 + parcel % 3] AS carrier, "
        "'7800' || lpad((parcel * 7919 % 100000007)::VARCHAR, 10, '0') AS waybill_no, t AS occurred_at, t AS received_at "
        f"FROM ({parcels}) WHERE i % {SCANS_PER_PARCEL} = 0"
    )
    store._committed = True


def in_a_big_table(folder: Path, rows: int) -> None:
    """Print what a purge of nearly half of a big database costs the writer, step by step, and what becomes of the file."""
    steps: list[Spent] = []
    usual: list[Spent] = []
    checkpoints: list[Spent] = []
    with Store(folder / "big.duckdb", copy_every_seconds=86_400) as store:
        engine = Engine(store, load_profiles(), LATENESS, retention=RETENTION)
        for part in range(10):
            fill(store, part * rows // 10, rows // 10, BIG_DAYS / 10, START + timedelta(days=BIG_DAYS / 10 * part))
        size = checkpointed(store, [])
        engine.process(NOTHING, {}, (now := START + timedelta(days=BIG_DAYS)))
        with closing(Purger(store, engine, RETENTION)) as purger:
            more = rows
            for _ in range(8):
                fill(store, more, min(APPENDED_ROWS, rows), 0.001, now)
                more += APPENDED_ROWS
                checkpointed(store, usual)
            looking = time.perf_counter()
            purger.step()
            assert purger._looking is not None
            purger._looking.result()
            looking = time.perf_counter() - looking
            while purger._horizon is not None:
                if purger._looking is not None:
                    purger._looking.result()  # the stream would go on meanwhile
                with timed(steps):
                    purger._step(RETENTION, wait=True)
                if purger._slices:
                    fill(store, more, min(APPENDED_ROWS, rows), 0.001, now)
                    more += APPENDED_ROWS
                    after = checkpointed(store, checkpoints)
            purged = purger.rows
        fill(store, more, purged * SCANS_PER_PARCEL // (SCANS_PER_PARCEL + 1), 1, now)
        refilled, scans = checkpointed(store, []), store.sql("SELECT count(*) FROM scans").item()
    slices = len(checkpoints) + 1
    print(
        f"of {rows:,} scans with their uploads {purged:,} rows purged in about {slices} slices of {purging._SLICE_ROWS:,}\n"
        f"  looking, beside the writer: {looking:.1f} s in the first round; longest step {longest(steps)}, all steps "
        f"{sum(one.cpu for one in steps):.1f} s CPU\n"
        f"  longest checkpoint after a slice {longest(checkpoints)}, of {slices - 1} together "
        f"{sum(one.cpu for one in checkpoints):.1f} s CPU; with {APPENDED_ROWS:,} rows appended alone {longest(usual)}\n"
        f"  file before {size / 1e6:.1f} MB, after {after / 1e6:.1f} MB, filled again {refilled / 1e6:.1f} MB with {scans:,} scans"
    )


def main() -> None:
    """Measure both."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.retention", description=__doc__)
    parser.add_argument("--orders", type=int, default=ORDERS_DEFAULT, help="11 events each (default: %(default)s)")
    parser.add_argument("--days", type=int, default=DAYS_DEFAULT, help="days simulated (default: %(default)s)")
    parser.add_argument("--rows", type=int, default=ROWS_DEFAULT, help="scans of the big table (default: %(default)s)")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        over_the_days(Path(folder), arguments.orders, arguments.days)
        in_a_big_table(Path(folder), arguments.rows)


if __name__ == "__main__":
    main()
