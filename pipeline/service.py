"""The command `run`: Kafka in, flags out, until stopped.

One thread polls, one has the batch before decoded, this one judges the one before that, and the store's commits what was judged. A
failure of the world (broker, disk) ends the process; the next one goes on from what is committed.
"""

import argparse
import logging
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing
from datetime import UTC, datetime
from threading import Event
from typing import Final, NamedTuple

from pipeline.cli import program_version
from pipeline.decoding import LARGE_BATCH, Decoding
from pipeline.engine import Engine, Outcome
from pipeline.kafka_source import KafkaBatch, KafkaSource
from pipeline.metrics import Health, Metrics, MetricsServer
from pipeline.publish import Publisher
from pipeline.replay import Summary
from pipeline.running import Pipeline, Stop, ahead, opened
from pipeline.store import COMMITS_WAITING_MAX, Offset
from pipeline.told import Told
from schemas.settings import Settings

_TICK_SECONDS: Final = 1.0
"""How often time passes, and is committed, while no records come."""

_POLL_SECONDS_MAX: Final = 10.0
"""How long a poll may take beyond its wait for the first record."""

log = logging.getLogger("parcelwatch")


class Arrival(NamedTuple):
    """One poll, decoded."""

    batch: KafkaBatch
    told: Told


def run(arguments: argparse.Namespace, settings: Settings) -> int:
    """Run the service until SIGTERM or SIGINT, or until caught up if that was asked for; returns the exit status.

    Raises:
        SourceError: Kafka cannot be reached or read, or has deleted records before they were read.
        StoreError: The database cannot be opened.
        HttpError: The port of the metrics is taken.
    """
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    started_at = datetime.now(UTC)
    with ExitStack() as stack:
        stop = stack.enter_context(Stop())
        metrics = Metrics(program_version())
        # First of all, since it fails at once if another service runs here.
        server = (
            stack.enter_context(MetricsServer(metrics, settings.http_host, settings.http_port))
            if settings.http_port
            else None
        )
        # Whether much is waiting, only Kafka will say; by then it is to be decoded.
        pipeline = stack.enter_context(opened(settings, records=settings.batch_records_max))
        source = stack.enter_context(closing(_source(settings, pipeline)))
        publisher = stack.enter_context(
            closing(Publisher(settings.kafka_keywords(), settings.flags_topic, settings.letters_topic))
        )
        _announce(settings, pipeline, source)
        pipeline.decoder.expect(source.backlog)
        goal = CatchUp(started_at, {name: offset.position for name, offset in pipeline.store.offsets().items()})
        service = Service(pipeline, source, publisher, metrics, server, settings.summary_every_seconds)
        patience_seconds = settings.batch_wait_ms_max / 1000 + _POLL_SECONDS_MAX
        asked = Event()
        polling = polls(source, settings, asked.is_set)
        polled = ahead(polling, stop, depth=1, patience_seconds=patience_seconds, asked=asked)
        coming = ahead(
            arrivals(polled, pipeline.decoder),
            stop,
            depth=1,
            patience_seconds=2 * patience_seconds,
            hurried=lambda arrival: has_backlog(arrival.batch),
        )
        for arrival in stack.enter_context(closing(coming)):
            service.turn(arrival)
            if arguments.until_caught_up and goal.reached(arrival.batch, pipeline.engine.clock):
                stop.done()
        service.settle()
        service.summarize()
        log.info("stopped: everything judged is committed")
    return 0


def _source(settings: Settings, pipeline: Pipeline) -> KafkaSource:
    return KafkaSource(
        {**settings.kafka_keywords(), "group_id": settings.group_id},
        settings.topics(),
        pipeline.store.offsets(),
        batch_records_max=settings.batch_records_max,
        on_gap=settings.on_retention_gap,
    )


def _announce(settings: Settings, pipeline: Pipeline, source: KafkaSource) -> None:
    if pipeline.store.healed:
        log.warning("%s", pipeline.store.healed)
    log.info(
        "parcelwatch %s: %d partitions of %s at %s into %s; in memory: %s; clock %s",
        program_version(),
        len(source.partitions),
        ", ".join(settings.topics()),
        settings.bootstrap_servers,
        settings.db,
        _listed(pipeline.engine.size()),
        pipeline.engine.clock and pipeline.engine.clock.isoformat(),
    )


def polls(source: KafkaSource, settings: Settings, wanted: Callable[[], bool]) -> Iterator[KafkaBatch]:
    """Polls, for ever."""
    while True:
        yield source.poll(_TICK_SECONDS, settings.batch_wait_ms_max / 1000, wanted)


def has_backlog(batch: KafkaBatch) -> bool:
    """Whether as much again is waiting, or much anyway. If not, what is decoded early only gets old, and could have grown."""
    return sum(batch.lag.values()) > min(batch.records.height, LARGE_BATCH)


def arrivals(batches: Iterator[KafkaBatch], decoder: Decoding) -> Iterator[Arrival]:
    """Decode `batches`: while there is a backlog, several at once. An error of `batches` is raised after those before it."""
    under_way: deque[tuple[KafkaBatch, Callable[[], Told]]] = deque()
    error: Exception | None = None
    while error is None:
        try:
            batch = next(batches)
        except Exception as raised:
            error = raised
        else:
            under_way.append((batch, decoder.begin(batch.records)))
        while under_way and (error or len(under_way) >= decoder.width or not has_backlog(batch)):
            first, told = under_way.popleft()
            yield Arrival(first, told())
    if not isinstance(error, StopIteration):
        raise error


class CatchUp:
    """Whether everything has been read and judged that was in the topics when the service started."""

    def __init__(self, started_at: datetime, positions: dict[str, int]) -> None:
        self._started_at = started_at
        self._positions = positions
        self._ends: dict[str, int] | None = None

    def reached(self, batch: KafkaBatch, clock: datetime | None) -> bool:
        """Take note of a judged batch and of the engine's clock after it, and say whether that was the last one needed."""
        self._positions |= {name: offset.position for name, offset in batch.offsets.items()}
        if self._ends is None:
            self._ends = {name: self._positions[name] + lag for name, lag in batch.lag.items()}
        read = all(self._positions[name] >= end for name, end in self._ends.items())
        return read and clock is not None and clock >= self._started_at


class Service:
    """The judging side of the loop, with what it tells about itself."""

    def __init__(
        self,
        pipeline: Pipeline,
        source: KafkaSource,
        publisher: Publisher,
        metrics: Metrics,
        server: MetricsServer | None,
        summary_every_seconds: float,
    ) -> None:
        self._engine: Engine = pipeline.engine
        self._store = pipeline.store
        self._purger = pipeline.purger
        self._decoder = pipeline.decoder
        self._source = source
        self._publisher = publisher
        self._metrics = metrics
        self._server = server
        self._summary_every_seconds = summary_every_seconds
        self._lag = 0
        self._from_future = 0
        self._gaps = 0
        self._silent = 0
        self._purged: tuple[int, float] = (0, 0.0)
        self._committed_at: datetime | None = None
        self._given: deque[Mapping[str, Offset]] = deque()
        """What batches have read that may not be durable yet."""
        self._judged_at = 0.0
        self._begin_summary()

    def turn(self, arrival: Arrival) -> None:
        """Judge and commit one arrival, then let everybody know."""
        batch, told = arrival
        if batch.offsets or time.monotonic() - self._judged_at >= _TICK_SECONDS:
            outcome = self._engine.process(told, batch.offsets, batch.clock)
            self._judged_at = time.monotonic()
            self._committed_at = datetime.now(UTC)
            self._given.append(batch.offsets)
            if not has_backlog(batch):
                # Judging what has just come while this is written would make batches smaller, and all of them dearer.
                self.settle()
            elif len(self._given) > COMMITS_WAITING_MAX:
                self._source.acknowledge(self._given.popleft())
            self._publisher.publish(self._store)
            self._count(outcome)
            self._purger.step()
        self._show(batch)
        if time.monotonic() - self._summary_began >= self._summary_every_seconds:
            self.summarize()

    def settle(self) -> None:
        """Wait until everything judged is committed, and let the group's offsets follow."""
        self._store.settle()
        while self._given:
            self._source.acknowledge(self._given.popleft())

    def summarize(self) -> None:
        """Log one line about the time since the last summary."""
        seconds = max(time.monotonic() - self._summary_began, 1e-3)
        done = self._summary
        opened_flags = {rule: count for (rule, change), count in sorted(done.changes.items()) if change == "opened"}
        log.info(
            "%d events (%.0f/s), %d dead letters, lag %d; flags opened: %s; clock %s; slowest batch %.0f ms; in memory: %s",
            done.events,
            done.events / seconds,
            done.letters,
            self._lag,
            _listed(opened_flags) or "none",
            self._engine.clock and self._engine.clock.isoformat(),
            self._slowest_seconds * 1000,
            _listed(self._engine.size()),
        )
        self._begin_summary()

    def _begin_summary(self) -> None:
        self._summary = Summary()
        self._summary_began = time.monotonic()
        self._slowest_seconds = 0.0

    def _count(self, outcome: Outcome) -> None:
        self._summary.add(outcome)
        self._slowest_seconds = max(self._slowest_seconds, outcome.seconds)
        metrics = self._metrics
        metrics.events.inc(outcome.events)
        metrics.facts.inc(outcome.new_facts)
        metrics.duplicates.inc(outcome.events - outcome.new_facts)
        metrics.dead_letters.inc(outcome.letters)
        metrics.batch_seconds.observe(outcome.seconds)
        for (rule, change), count in Counter(outcome.changes.select("rule", "change").iter_rows()).items():
            metrics.flag_changes.labels(rule, change).inc(count)

    def _show(self, batch: KafkaBatch) -> None:
        """Bring the gauges and the health up to date."""
        metrics = self._metrics
        self._lag = sum(batch.lag.values())
        for name, lag in batch.lag.items():
            metrics.lag.labels(name).set(lag)
        for kind, count in self._engine.size().items():
            metrics.state.labels(kind).set(count)
        from_future, gaps = self._source.records_from_future, len(self._source.gaps)
        metrics.from_future.inc(from_future - self._from_future)
        metrics.gaps.inc(gaps - self._gaps)
        silent = self._decoder.silent  # once: another thread counts on
        metrics.silent.inc(silent - self._silent)
        rows, seconds = self._purger.rows, self._purger.seconds
        metrics.purged_rows.inc(rows - self._purged[0])
        metrics.purging_seconds.inc(seconds - self._purged[1])
        self._from_future, self._gaps, self._silent, self._purged = from_future, gaps, silent, (rows, seconds)
        if self._engine.clock is not None:
            metrics.set_clock(self._engine.clock)
        if self._server is not None:
            self._server.health = Health(time.monotonic(), self._engine.clock, self._committed_at, batch.lag)


def _listed(counts: dict[str, int]) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in counts.items())
