"""How many places a second are resolved on one core, new ones and ones seen before. See README.md beside this file.

python -m benchmarks.places [--orders N] [--seed S]
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import polars as pl

from pipeline.decoding import Decoding
from pipeline.files import open_readers
from pipeline.places import Places
from pipeline.simulate import Simulation, write_file

ORDERS_DEFAULT = 20_000
ROOT = Path(__file__).resolve().parent.parent
FIELDS = ("province", "city", "district")


def facts(orders: int, seed: int) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return the scans and the facts of orders of a simulated stream."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "stream.ndjson")
        write_file(path, Simulation(orders, seed, invalid_share=0))
        [reader] = open_readers([str(path)])
        decoder = Decoding(b"key of the benchmark", processes=0)
        batches = [decoder.decode(batch.records).facts for batch in iter(reader.read, None)]
    scans, of_orders = (
        pl.concat([batch[table] for batch in batches if table in batch]) for table in ("scans", "order_facts")
    )
    return scans, of_orders.filter(pl.col("province").is_not_null() | pl.col("place_text").is_not_null())


def without(frame: pl.DataFrame, *columns: str) -> pl.DataFrame:
    """Return the frame as if these had not been given."""
    return frame.with_columns(pl.lit(None, pl.String).alias(column) for column in columns)


def row(name: str, frame: pl.DataFrame, *, scanned: bool) -> None:
    """Print how fast all places of `frame` are resolved, for the first time and once more."""
    places = Places()
    seconds = []
    for _ in range(2):
        started = time.perf_counter()
        places.add(frame, scanned=scanned)
        seconds.append(time.perf_counter() - started)
    first, again = (len(frame) / one for one in seconds)
    print(f"{name:34} {len(frame):10,} {first:12,.0f}/s {again:12,.0f}/s {len(places.resolved):10,}")


def measured(orders: int, seed: int) -> None:
    """Print one table."""
    scans, of_orders = facts(orders, seed)
    started = time.perf_counter()
    row("(the lists of names are read)", scans.head(1), scanned=True)
    print(f"{'':34} {time.perf_counter() - started:.2f} s")
    print(f"{'':34} {'places':>10} {'new':>14} {'known':>14} {'distinct':>10}")
    row("scans as simulated", scans, scanned=True)
    row("scans by what the facility says", without(scans, *FIELDS, "place_text", "description"), scanned=True)
    row("scans by their description", without(scans, *FIELDS, "place_text", "facility"), scanned=True)
    row("orders as simulated", of_orders, scanned=False)
    line = pl.concat_str(*FIELDS, "detail", "place_text", ignore_nulls=True)
    row("orders in one line", without(of_orders.with_columns(place_text=line), *FIELDS, "detail"), scanned=False)


def main() -> None:
    """Measure in a process of its own that has one thread."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.places", description=__doc__)
    parser.add_argument("--orders", type=int, default=ORDERS_DEFAULT, help="10 places each (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    if os.environ.get("POLARS_MAX_THREADS") == "1":
        measured(arguments.orders, arguments.seed)
        return
    environment = os.environ | {"POLARS_MAX_THREADS": "1"}
    command = [
        sys.executable,
        "-m",
        "benchmarks.places",
        "--orders",
        str(arguments.orders),
        "--seed",
        str(arguments.seed),
    ]
    sys.exit(subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode)


if __name__ == "__main__":
    main()
