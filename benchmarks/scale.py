"""Millions of open shipments in one process: what they cost in memory, in speed, and at a restart. See README.md beside this file.

python -m benchmarks.scale [--shipments N] [--folder DIR]
"""

import argparse
import gc
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl

from pipeline.decode import Decoded
from pipeline.engine import Engine
from pipeline.profiles import load_profiles
from pipeline.store import Store
from pipeline.told import NOTHING, told
from schemas.frames import EVENTS, LETTERS, RECORDS, TIME

ROOT = Path(__file__).resolve().parent.parent
SHIPMENTS_DEFAULT = 10_000_000
REST_SECONDS = 10
COHORTS_MIN = 40
COHORT_MAX = 20_000
"""So many shipments are in one step of their way at once: a batch has ten times as many events."""
UNSHIPPED_EVERY = 1000
"""One in so many is never picked up."""
START = datetime(2026, 11, 1, tzinfo=UTC)
SPAN = timedelta(hours=20)
"""Within which everything happens, so that all shipments are open at its end."""
PLACES = [
    ("浙江省", "杭州市", "西湖区"),
    ("江苏省", "苏州市", "吴中区"),
    ("广东省", "深圳市", "南山区"),
    ("四川省", "成都市", "武侯区"),
]
SCANS = ("picked_up", "arrived_at_facility", "departed_facility", "in_transit", "arrived_at_facility", "departed_facility",
         "arrived_at_facility", "in_transit")  # fmt: skip
STEPS = 2 + len(SCANS)


def cohort(number: int, size: int, step: int, at: datetime) -> pl.DataFrame:
    """Return what the shipments of a cohort do in one step of their way: payment, upload, eight scans."""
    nth = pl.int_range(number * size, (number + 1) * size, eager=True).alias("n").to_frame()
    n = pl.col("n")
    when = pl.lit(at).cast(TIME) + pl.duration(microseconds=n % size)
    where = n * 7 % len(PLACES)
    place = {
        name: where.replace_strict(range(len(PLACES)), [place[column] for place in PLACES], return_dtype=pl.String)
        for column, name in enumerate(("province", "city", "district"))
    }
    order_id = pl.lit("37") + (n + 10**16).cast(pl.String)
    shipment = {
        "carrier": (n % 4).replace_strict(range(4), ["zto", "yto", "sf", "jd"], return_dtype=pl.String),
        "waybill_no": pl.lit("78") + (n + 10**12).cast(pl.String),
    }
    common = {"occurred_at": when, "received_at": when}
    if step == 0:
        return nth.select(
            type=pl.lit("order_paid"), order_id=order_id, platform=pl.lit("wechat_channels"),
            merchant_id=pl.lit("m") + (n % 5000).cast(pl.String), amount=pl.lit("19.90"),
            name_hash=n.hash(1).cast(pl.String), phone_hash=n.hash(2).cast(pl.String), **place, **common,
        )  # fmt: skip
    if step == 1:
        return nth.select(type=pl.lit("waybill_uploaded"), order_id=order_id, **shipment, **common)
    never = n % UNSHIPPED_EVERY == 0
    return nth.filter(~never).select(
        type=pl.lit("scan"), status=pl.lit(SCANS[step - 2]), facility=pl.lit("转运中心"),
        description=pl.lit("快件已到达"), **shipment, **place, **common,
    )  # fmt: skip


def batches(shipments: int) -> Iterator[tuple[int, pl.DataFrame]]:
    """Yield how many shipments have been paid for by then, and a batch: each cohort is one step further than the next one."""
    size = min(COHORT_MAX, max(1, shipments // COHORTS_MIN))
    cohorts = shipments // size
    empty = EVENTS.to_frame()
    for turn in range(cohorts + STEPS - 1):
        at = START + SPAN * turn / (cohorts + STEPS)
        parts = [cohort(turn - step, size, step, at) for step in range(STEPS) if 0 <= turn - step < cohorts]
        yield min(turn + 1, cohorts) * size, pl.concat([empty, *parts], how="diagonal")


def resident_bytes() -> int:
    """Return the memory of this process that lies in RAM (Linux)."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def fill(db: str, shipments: str) -> dict[str, Any]:
    """Feed shipments to an engine, and see how speed and memory develop."""
    store = Store(Path(db), copy_every_seconds=30)
    engine = Engine(store, load_profiles(), memory_every_seconds=10**6)
    rows: list[dict[str, Any]] = []
    marks = [100_000, 300_000, *range(1_000_000, int(shipments) + 1, 1_000_000)]
    events, busy, longest, total = 0, 0.0, 0.0, 0
    for paid, batch in batches(int(shipments)):
        began = time.perf_counter()
        facts = told(Decoded(batch, LETTERS.to_frame(), RECORDS.to_frame(), pl.int_range(len(batch), eager=True)))
        engine.process(facts, {}, facts.latest())
        seconds = time.perf_counter() - began
        events, busy, longest, total = events + len(batch), busy + seconds, max(longest, seconds), total + len(batch)
        if marks and paid >= marks[0]:
            del marks[0]
            rows.append({"shipments": paid, "rate": events / busy, "longest": longest, "resident": resident_bytes()})
            print(rows[-1], file=sys.stderr, flush=True)
            events, busy, longest = 0, 0.0, 0.0
    store.settle()
    gc.collect()
    at_work = resident_bytes()
    time.sleep(REST_SECONDS)
    resident, began = resident_bytes(), time.perf_counter()
    engine.close()
    kept = time.perf_counter() - began
    size = engine.size()
    store.close()
    files = {
        path.suffix: path.stat().st_size for path in Path(db).parent.glob("scale*") if "published" not in path.name
    }
    measured = {"resident": resident, "at_work": at_work, "kept_seconds": kept, "events": total}
    return {"rows": rows, **measured, "files": files, **size}


def restart(db: str, shipments: str) -> dict[str, Any]:
    """Start from the database as `run` does, and see that nothing was forgotten."""
    began = time.perf_counter()
    store = Store(Path(db), copy_every_seconds=10**6)
    opened = time.perf_counter() - began
    engine = Engine(store, load_profiles(), memory_every_seconds=10**6)
    ready = time.perf_counter() - began
    resident = resident_bytes()
    opens = 0
    for hours in range(24, 72, 4):
        changes = engine.process(NOTHING, {}, START + timedelta(hours=hours)).changes
        opens += len(changes.filter(rule="no_pickup_scan", change="opened"))
    expected = len(range(0, int(shipments), UNSHIPPED_EVERY))
    store.__exit__(RuntimeError, None, None)  # without the checkpoint and the copy
    return {
        "opened_seconds": opened, "ready_seconds": ready, "resident": resident, "found": opens, "expected": expected,
        **engine.size(),
    }  # fmt: skip


PARTS = {"fill": fill, "restart": restart}


def part(name: str, *arguments: object) -> dict[str, Any]:
    """Run one of `PARTS` in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.scale", "--part", name, *map(str, arguments)]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def main() -> None:
    """Print what was measured."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scale", description=__doc__)
    parser.add_argument("--shipments", type=int, default=SHIPMENTS_DEFAULT, help="default: %(default)s")
    parser.add_argument(
        "--folder", type=Path, help="where to put the database while it runs; 1 GB for a million shipments"
    )
    parser.add_argument("--part", nargs="+", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.part:
        print(json.dumps(PARTS[arguments.part[0]](*arguments.part[1:])))
        return
    here = Path(tempfile.mkdtemp(prefix="parcelwatch-", dir=arguments.folder))
    try:
        db, shipments = here / "scale.duckdb", arguments.shipments
        filled = part("fill", db, shipments)
        print(f"{filled['waybills']:,} open shipments with {filled['scans']:,} scans; {os.cpu_count()} CPUs")
        for row in filled["rows"]:
            print(
                f"  at {row['shipments']:12,} shipments {row['rate']:12,.0f} events/s, longest batch {row['longest']:6.2f} s, "
                f"{row['resident'] / 1e6:8,.0f} MB resident"
            )
        at_work, at_rest = (filled[when] / filled["waybills"] for when in ("at_work", "resident"))
        print(
            f"resident: {at_work:,.0f} bytes a shipment after the last batch, {at_rest:,.0f} after {REST_SECONDS} s of rest"
        )
        on_disk = ", ".join(
            f"{suffix} {size / filled['events']:.0f}" for suffix, size in sorted(filled["files"].items())
        )
        print(f"bytes an event on disk: {on_disk}; memory was written in {filled['kept_seconds']:.1f} s")
        again = part("restart", db, shipments)
        print(
            f"restart: ready after {again['ready_seconds']:.1f} s, {again['opened_seconds']:.1f} s of it the database; "
            f"{again['resident'] / again['waybills']:,.0f} bytes a shipment resident"
        )
        print(f"never picked up: {again['found']:,} flagged of {again['expected']:,}")
        if again["found"] != again["expected"] or again["waybills"] != filled["waybills"]:
            sys.exit("the restart has lost something")
    finally:
        shutil.rmtree(here)


if __name__ == "__main__":
    main()
