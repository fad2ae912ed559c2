"""The same five rules' job in parcelwatch and in other stream processors, one after the other: prints one table. See README.md.

python -m benchmarks.peers [--orders N] [--seed S] [--only NAME ...] [--no-kafka]
"""

import argparse
import os
import platform
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import version as installed
from pathlib import Path
from typing import Final, NamedTuple

from benchmarks.peers.comparing import Flag, read_flags, verdict
from benchmarks.peers.environments import environment, version
from benchmarks.peers.measuring import Measured, measure
from benchmarks.peers.preparing import BY_THE_CLOCK, RULES, Prepared, micros, prepare

ORDERS_DEFAULT: Final = 25_000
SECONDS_MAX: Final = 300.0
SPARK_POM: Final = Path(__file__).with_name("spark.xml")


class Topics(NamedTuple):
    """Where the stream lies in Kafka."""

    bootstrap: str
    orders: str
    scans: str


class Job(NamedTuple):
    """One run: the stream, the topics if it is to be read from there, and a folder for what it makes."""

    prepared: Prepared
    topics: Topics | None
    folder: Path


class Peer(NamedTuple):
    """A stream processor: how the table calls it, its version, how it does the job, and why it reads no files, if so."""

    title: str
    version: Callable[[], str]
    run: Callable[[Job], tuple[Measured, Counter[Flag]]]
    no_file: str = ""


# ----------------------------------------------------------------------------------------------------------- how each is run


def parcelwatch(job: Job) -> tuple[Measured, Counter[Flag]]:
    """Run the command as users do, with all its rules; only the five are compared, as of the end of the stream."""
    from pipeline.reading import query  # noqa: PLC0415  imports DuckDB, which the preparation does without

    db = job.folder / "parcelwatch.duckdb"
    command = ["-m", "pipeline", "replay", str(job.prepared.stream)]
    if job.topics:
        command = ["-m", "pipeline", "run", "--until-caught-up", "--http-port", "0"]
        command += ["--bootstrap-servers", job.topics.bootstrap]
        command += ["--orders-topic", job.topics.orders, "--scans-topic", job.topics.scans]
    measured = measure([sys.executable, *command, "--db", str(db)], SECONDS_MAX)
    # `run` ends at today's clock, by which more deadlines have passed.
    columns = ", ".join(Flag._fields[:4])
    flags = query(db, f"SELECT {columns}, epoch_us(violated_at) FROM flags WHERE status = 'open'").frame
    end = micros(job.prepared.as_of)
    found = (Flag(*row) for row in flags.iter_rows() if row[0] in RULES)
    return measured, Counter(flag for flag in found if flag.rule not in BY_THE_CLOCK or flag.violated_at < end)


def other(name: str, module: str) -> Callable[[Job], tuple[Measured, Counter[Flag]]]:
    """Return how to run a peer of ours: `module`, in the environment `name`."""

    def run(job: Job) -> tuple[Measured, Counter[Flag]]:
        out = job.folder / "flags.ndjson"
        command = [str(environment(name)), "-m", f"benchmarks.peers.{module}", "--out", str(out)]
        command += ["--as-of", str(micros(job.prepared.as_of)), "--events", str(job.prepared.events)]
        if job.topics:
            command += ["--bootstrap", job.topics.bootstrap, "--orders", job.topics.orders, "--scans", job.topics.scans]
        else:
            command += ["--file", str(job.prepared.stream)]
        return measure(command, SECONDS_MAX, _variables(name, job)), read_flags(out)

    return run


def _variables(name: str, job: Job) -> dict[str, str]:
    """Return what the peer must find among its environment variables."""
    if name == "pathway":
        return {"PATHWAY_THREADS": "2"}
    if name == "pyspark" and job.topics:
        from tests.broker.broker import resolve_jars  # noqa: PLC0415  imports the Kafka client, which files do without

        return {"PEER_JARS": str(resolve_jars(SPARK_POM, "spark-kafka"))}
    return {}


def ours() -> str:
    """Return the version of parcelwatch."""
    return installed("parcelwatch")


def _peer(title: str, name: str, module: str, no_file: str = "") -> Peer:
    return Peer(title, lambda: version(name), other(name, module), no_file)


PEERS: Final = {
    "parcelwatch": Peer("parcelwatch", ours, parcelwatch),
    "python": Peer("plain Python", platform.python_version, other("python", "with_python")),
    "bytewax": _peer("Bytewax", "bytewax", "with_bytewax"),
    "pathway": _peer("Pathway", "pathway", "with_pathway"),
    "quix": _peer("Quix Streams", "quixstreams", "with_quix", "reads files only into Kafka"),
    "spark": _peer("Spark", "pyspark", "with_spark"),
}


# ------------------------------------------------------------------------------------------------------------------ the table


def row(*cells: str) -> None:
    """Print one line of the table."""
    print(f"| {' | '.join(cells)} |", flush=True)


def compete(peer: Peer, job: Job, source: str) -> None:
    """Let one peer do the job and print how it went, however it went."""
    head = (f"{peer.title} {peer.version()}", source)
    if job.topics is None and peer.no_file:
        row(*head, "", "", "", "", peer.no_file)
        return
    job.folder.mkdir()
    try:
        measured, found = peer.run(job)
    except Exception as error:  # whatever it is, the others go on
        print(error, file=sys.stderr)
        row(*head, "", "", "", "", "failed")
    else:
        rate = f"{job.prepared.events / measured.seconds:,.0f}"
        figures = (f"{measured.seconds:.1f} s", f"{measured.cpu_seconds:.1f} s", f"{measured.peak_mb:,.0f} MB")
        row(*head, rate, *figures, verdict(found, job.prepared.expected))
    finally:
        shutil.rmtree(job.folder)


@contextmanager
def in_kafka(stream: Path, name: str) -> Iterator[Topics]:
    """Give the stream in topics of a broker of our own."""
    from benchmarks.peers.topics import publish  # noqa: PLC0415  imports the Kafka client, which files do without
    from tests.broker import start_broker  # noqa: PLC0415

    broker = start_broker()
    try:
        yield Topics(broker.bootstrap, *publish(broker, stream, name))
    finally:
        broker.close()


def main() -> None:
    """Print one table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.peers", description=__doc__)
    parser.add_argument("--orders", type=int, default=ORDERS_DEFAULT, help="some 9 events each (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", nargs="+", choices=PEERS, default=list(PEERS), metavar="NAME", help=", ".join(PEERS))
    parser.add_argument("--no-kafka", action="store_true", help="only from the file")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="parcelwatch-peers-") as scratch:
        here = Path(scratch)
        prepared = prepare(here, arguments.orders, arguments.seed)
        print(
            f"{prepared.events:,} events of {prepared.orders:,} orders, {len(prepared.expected):,} violations; "
            f"{os.cpu_count()} CPUs, Python {platform.python_version()}\n"
        )
        row("", "reads", "events/s", "time", "CPU", "peak", "flags")
        row(*["---"] * 2, *["---:"] * 4, "---")
        for name in arguments.only:
            compete(PEERS[name], Job(prepared, None, here / f"{name}-file"), "file")
        if arguments.no_kafka:
            return
        with in_kafka(prepared.stream, here.name) as topics:
            for name in arguments.only:
                compete(PEERS[name], Job(prepared, topics, here / f"{name}-kafka"), "Kafka")


if __name__ == "__main__":
    main()
