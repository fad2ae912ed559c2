"""The command `simulate`: the simulated stream into a file or into Kafka."""

import argparse
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

from rich.console import Console
from rich.progress import Progress as ProgressBar

from pipeline import simulate
from pipeline.cli import UsageError
from pipeline.publish import sending
from schemas.settings import Settings


def run(arguments: argparse.Namespace, settings: Settings) -> int:
    """Simulate `arguments.orders` orders; returns the exit status.

    Raises:
        UsageError: It is not said where to, or what is said belongs to the other place.
        SourceUnreachableError: No broker answers.
    """
    _check(arguments, settings)
    days = arguments.days or simulate.days_of(arguments.orders)
    # A file is the same every time; what goes to Kafka ends now, so that a service that reads it is up to date.
    start = simulate.START if arguments.out else datetime.now(UTC) - timedelta(days=days)
    simulation = simulate.Simulation(
        arguments.orders,
        arguments.seed,
        start=arguments.start or start,
        days=days,
        invalid_share=simulate.INVALID_SHARE if arguments.invalid_share is None else arguments.invalid_share,
    )
    with _bar(arguments.orders) as progress:
        if arguments.out:
            summary = simulate.write_file(arguments.out, simulation, progress)
        else:
            topics = {simulate.ORDERS: settings.orders_topic, simulate.SCANS: settings.scans_topic}
            with sending(settings.kafka_keywords()) as send:
                summary = simulate.produce(
                    lambda topic, key, value, recorded_at_ms: send(topics[topic], key, value, recorded_at_ms),
                    simulation,
                    rate=arguments.rate,
                    labels=arguments.labels,
                    progress=progress,
                )
    labels = f"{arguments.out}.labels.ndjson" if arguments.out else arguments.labels
    sys.stdout.write(
        f"{summary.events:,} events and {summary.invalid:,} invalid messages to {arguments.out or settings.bootstrap_servers}, "
        f"the last received at {summary.as_of.isoformat()}\n"
        f"{summary.labels:,} violations must be flagged then: {labels or 'give --labels FILE to see which'}\n"
    )
    if arguments.out:
        sys.stdout.write(f"next: parcelwatch replay {arguments.out} --db {settings.db}\n")
    return 0


def _check(arguments: argparse.Namespace, settings: Settings) -> None:
    to_kafka = "bootstrap_servers" in settings.model_fields_set
    if arguments.out is None and not to_kafka:
        raise UsageError("simulate needs to know where to: give --out FILE or --bootstrap-servers HOST:PORT")
    if arguments.out is not None and "bootstrap_servers" in arguments.flags:
        raise UsageError("simulate writes to one place: give either --out or --bootstrap-servers")
    if arguments.out is not None and (arguments.rate or arguments.labels):
        raise UsageError("--rate and --labels are for Kafka: without --bootstrap-servers leave them out")


@contextmanager
def _bar(orders: int) -> Iterator[simulate.Progress | None]:
    """A progress bar on standard error, if that is a terminal."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield None
        return
    with ProgressBar(console=console, transient=True) as bar:
        task = bar.add_task("", total=orders)
        yield lambda told: bar.update(task, completed=told)
