"""One stream through parcelwatch and, in the same run, through the bare tools it stands on. See README.md beside this file.

python -m benchmarks.throughput [--orders N] [--seed S] [--no-kafka | --no-files]
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl

from pipeline.files import open_readers
from pipeline.simulate import ORDERS, SCANS, Simulation, days_of, write_file

ORDERS_DEFAULT = 300_000
PARTITIONS = 3
_LINE_BYTES_MAX = 4096
ROOT = Path(__file__).resolve().parent.parent

PLACE = pl.Struct(dict.fromkeys(("province", "city", "district", "detail", "text", "facility"), pl.String))
FIELDS: dict[str, pl.DataType | type[pl.DataType]] = {
    **dict.fromkeys(
        (
            "type", "event_id", "occurred_at", "received_at", "order_id", "platform", "merchant_id", "amount", "carrier",
            "waybill_no", "status", "description", "new_carrier", "new_waybill_no", "reason", "extended_to",
        ),
        pl.String,
    ),
    "ship_within_hours": pl.Int32,
    "recipient": pl.Struct({"name": pl.String, "phone": pl.String}),
    "address": PLACE,
    "location": PLACE,
    "rules": pl.List(pl.String),
}  # fmt: skip


class Measured(NamedTuple):
    """What one process did. `seconds` is its own measure if it gave one, else from its start to its end."""

    events: int
    seconds: float
    cpu_seconds: float
    peak_mb: float


# ------------------------------------------------------------------------------------------- what runs in a process of its own


def simulated(path: str, orders: str, seed: str) -> dict[str, Any]:
    """Write the stream. Not in the process that starts the others: they would inherit its peak of memory."""
    started = time.perf_counter()
    # It ends now: the service's clock will be the present, and what is still open then has not been for months.
    start = datetime.now(UTC) - timedelta(days=days_of(int(orders)))
    summary = write_file(Path(path), Simulation(int(orders), int(seed), start=start, invalid_share=0))
    return {"events": summary.events, "seconds": time.perf_counter() - started}


def bare_polars(path: str) -> dict[str, Any]:
    """Read the file with the schema given, and do nothing with it."""
    started = time.perf_counter()
    frame = pl.read_ndjson(path, schema=FIELDS)
    return {"events": len(frame), "seconds": time.perf_counter() - started}


def as_parquet(path: str, target: str) -> dict[str, Any]:
    """Write the same events as a table, with times as such."""
    started = time.perf_counter()
    frame = pl.read_ndjson(path, infer_schema_length=None)
    times = [name for name in frame.columns if name.endswith(("_at", "_to", "_from", "_until"))]
    frame = frame.with_columns(pl.col(name).str.to_datetime(time_unit="us", time_zone="UTC") for name in times)
    frame.write_parquet(target)
    return {"events": len(frame), "seconds": time.perf_counter() - started}


def bare_reader(path: str) -> dict[str, Any]:
    """Cut the file into lines, as the replay does, and do nothing with them."""
    started = time.perf_counter()
    [reader] = open_readers([path])
    events = sum(len(batch.records) for batch in iter(reader.read, None))
    return {"events": events, "seconds": time.perf_counter() - started}


def bare_kafka(bootstrap: str, *topics: str) -> dict[str, Any]:
    """Poll both topics to their ends with kafka-python, and do nothing with the records."""
    from kafka import KafkaConsumer, TopicPartition  # noqa: PLC0415  the other parts do without

    consumer = KafkaConsumer(
        bootstrap_servers=bootstrap, enable_auto_commit=False, max_poll_records=10_000, metrics_enabled=False
    )
    partitions = [TopicPartition(topic, number) for topic in topics for number in range(PARTITIONS)]
    consumer.assign(partitions)
    consumer.seek_to_beginning(*partitions)
    left = sum(consumer.end_offsets(partitions).values())
    started = time.perf_counter()
    events = 0
    while events < left:
        events += sum(map(len, consumer.poll(1000).values()))
    seconds = time.perf_counter() - started
    consumer.close()
    return {"events": events, "seconds": seconds}


def kafka_in_columns(bootstrap: str, *topics: str) -> dict[str, Any]:
    """Read both topics to their ends as the service does, and do nothing with the columns."""
    from pipeline.kafka_source import KafkaSource  # noqa: PLC0415  the other parts do without

    source = KafkaSource({"bootstrap_servers": bootstrap}, topics, {}, batch_records_max=200_000)
    started = time.perf_counter()
    events, lag = 0, 1
    while lag:
        batch = source.poll(1)
        events += batch.records.height
        lag = sum(batch.lag.values())
    seconds = time.perf_counter() - started
    source.close()
    return {"events": events, "seconds": seconds}


PARTS: dict[str, Callable[..., dict[str, Any]]] = {
    part.__name__: part for part in (simulated, bare_polars, as_parquet, bare_reader, bare_kafka, kafka_in_columns)
}


# ------------------------------------------------------------------------------------------------------------------ the run


def measure(command: Sequence[str | Path], events: int = 0) -> Measured:
    """Run one process to its end, alone."""
    started = time.perf_counter()
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as errors:
        process = subprocess.Popen([sys.executable, "-m", *map(str, command)], cwd=ROOT, stdout=out, stderr=errors)
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - started
        process.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0)
        errors.seek(0)
        if process.returncode:
            sys.exit(f"{' '.join(map(str, command))} failed:\n{errors.read().decode()}")
        said = json.loads(out.read()) if command[0] == "benchmarks.throughput" else {}
    kb_or_bytes = 1 if sys.platform == "darwin" else 1024
    return Measured(
        events=said.get("events", events),
        seconds=said.get("seconds", seconds),
        cpu_seconds=usage.ru_utime + usage.ru_stime,
        peak_mb=usage.ru_maxrss * kb_or_bytes / 1e6,
    )


def part(function: Callable[..., dict[str, Any]], *arguments: str | Path) -> Measured:
    """Run one of `PARTS`."""
    return measure(["benchmarks.throughput", "--part", function.__name__, *arguments])


def row(name: str, measured: Measured, unit: float | None = None) -> float:
    """Print one line; returns its events per second. `unit` is what to compare them with."""
    rate = measured.events / measured.seconds
    share = f"{rate / unit:7.2f}" if unit else " " * 7
    print(
        f"{name:34} {measured.seconds:8.2f} s {rate:12,.0f} events/s {share} "
        f"{measured.cpu_seconds:8.1f} CPU s {measured.peak_mb:8,.0f} MB",
        flush=True,
    )
    return rate


def wrong_flags(db: Path, stream: Path) -> str:
    """Compare flags with the stream's labels; what was violated after its end, by the clock alone, is left out."""
    from pipeline.reading import query  # noqa: PLC0415  imports DuckDB, whose memory is not the simulation's

    keys = ("rule", "order_id", "carrier", "waybill_no", "violated_at", "status")
    with stream.open("rb") as lines:
        lines.seek(-_LINE_BYTES_MAX, os.SEEK_END)
        end = json.loads(lines.readlines()[-1])["received_at"]
    standing = f"FROM flags WHERE status <> 'cleared' AND violated_at <= TIMESTAMPTZ '{end}'"
    flags = query(db, f"SELECT {', '.join(keys)} {standing}").frame
    flagged = Counter((*flag[:4], flag[4].timestamp(), flag[5]) for flag in flags.iter_rows())
    wanted = Counter(
        (*(label[key] for key in keys[:4]), datetime.fromisoformat(label["violated_at"]).timestamp(), label["status"])
        for label in map(json.loads, Path(f"{stream}.labels.ndjson").read_text("utf-8").splitlines())
    )
    missing, extra = (wanted - flagged).total(), (flagged - wanted).total()
    return (
        f"{flagged.total():,} flags; of {wanted.total():,} labels {missing:,} are missing, {extra:,} flags are too many"
    )


@contextmanager
def scratch(folder: Path | None) -> Iterator[Path]:
    """Return a folder for files and databases, removed at the end."""
    here = Path(tempfile.mkdtemp(prefix="parcelwatch-", dir=folder))
    try:
        yield here
    finally:
        shutil.rmtree(here)


def from_files(here: Path, events: int, stream: Path) -> None:
    """Measure what reads the file."""
    unit = row("polars.read_ndjson, bare", part(bare_polars, stream))
    row("lines of the file, bare", part(bare_reader, stream), unit)
    db = here / "replay.duckdb"
    row("parcelwatch replay", measure(["pipeline", "replay", stream, "--db", db], events), unit)
    print(f"{'':34} {wrong_flags(db, stream)}")
    table = stream.with_suffix(".parquet")
    part(as_parquet, stream, table)
    of_table = here / "table.duckdb"
    row("parcelwatch replay, Parquet", measure(["pipeline", "replay", table, "--db", of_table], events), unit)
    print(f"{'':34} {wrong_flags(of_table, stream)}")
    of_table.unlink()


def from_kafka(here: Path, events: int, stream: Path) -> None:
    """Measure what reads the topics of a broker of our own."""
    from pipeline.publish import sending  # noqa: PLC0415  imports the Kafka client, which files do without
    from tests.broker import BOOTSTRAP_VARIABLE, start_broker  # noqa: PLC0415

    # Taken away: the program refuses variables that it does not know.
    broker = start_broker(os.environ.pop(BOOTSTRAP_VARIABLE, None))
    try:
        kept = {"retention.ms": "-1"}
        topics = {name: broker.create_topic(f"bench.{here.name}.{name}", PARTITIONS, kept) for name in (ORDERS, SCANS)}
        with sending({"bootstrap_servers": broker.bootstrap}) as send, stream.open("rb") as lines:
            for line in lines:
                event = json.loads(line)
                carriers = event["type"] in {"scan", "waybill_replaced"}
                # An exemption of many orders names none of them.
                key = event.get("waybill_no" if carriers else "order_id") or event["event_id"]
                # A backlog has the times at which it came, and the service's clock follows these.
                recorded_at = datetime.fromisoformat(event["received_at"])
                send(topics[SCANS if carriers else ORDERS], key, line, int(recorded_at.timestamp() * 1000))
        unit = row("kafka-python poll loop, bare", part(bare_kafka, broker.bootstrap, *topics.values()))
        row("the same in columns, bare", part(kafka_in_columns, broker.bootstrap, *topics.values()), unit)
        db = here / "run.duckdb"
        command: list[str | Path] = ["pipeline", "run", "--until-caught-up", "--db", db, "--http-port", "0"]
        command += ["--bootstrap-servers", broker.bootstrap]
        command += ["--orders-topic", topics[ORDERS], "--scans-topic", topics[SCANS]]
        row("parcelwatch run", measure(command, events), unit)
        print(f"{'':34} {wrong_flags(db, stream)}")
    finally:
        broker.close()


def main() -> None:
    """Print one table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.throughput", description=__doc__)
    parser.add_argument("--orders", type=int, default=ORDERS_DEFAULT, help="11 events each (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1)
    only = parser.add_mutually_exclusive_group()
    only.add_argument("--no-kafka", action="store_true", help="only what reads files")
    only.add_argument("--no-files", action="store_true", help="only what reads Kafka")
    parser.add_argument("--folder", type=Path, help="where to put files and databases while it runs")
    parser.add_argument("--part", nargs="+", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.part:
        print(json.dumps(PARTS[arguments.part[0]](*arguments.part[1:])))
        return
    with scratch(arguments.folder) as here:
        stream = here / "stream.ndjson"
        made = part(simulated, stream, str(arguments.orders), str(arguments.seed))
        size = stream.stat().st_size
        print(
            f"{made.events:,} events of {arguments.orders:,} orders, {size / made.events:.0f} bytes each; {os.cpu_count()} CPUs"
        )
        print(f"{'':34} {'time':>10} {'':21} {'ratio':>7} {'CPU':>14} {'peak':>11}")
        row("parcelwatch simulate", made)
        if not arguments.no_files:
            from_files(here, made.events, stream)
        if not arguments.no_kafka:
            from_kafka(here, made.events, stream)


if __name__ == "__main__":
    main()
