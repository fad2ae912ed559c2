"""Reading Kafka: batches of records, how far they reach, and how far the clock may go.

Partitions are assigned by hand and read from the positions that DuckDB holds; the group's committed offsets are written for
lag monitors alone. One client reads. A second one, in a thread of its own, watches: which partitions there are, where their
logs begin and end, and it commits the group's offsets. So a slow or absent broker never stops records that another one has.

The clock rests on what is proven. Every partition is *read until* a moment: the latest timestamp of the records read from it,
or, once its position has reached the log end that was asked for after looking at the wall clock, that moment. The clock is the
earliest of these. Nothing that has not been read yet can be older, an idle partition follows the wall clock by itself,
and while a broker does not answer nothing is proven and the clock stands still.
"""

import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Literal, NamedTuple, cast

import polars as pl
from kafka import KafkaConsumer, OffsetAndMetadata, TopicPartition
from kafka.errors import (
    CorruptRecordError,
    KafkaError,
    LogTruncationError,
    OffsetOutOfRangeError,
    RetriableError,
)

from pipeline.kafka_columns import read_in_columns, rows
from pipeline.kafka_connecting import CLIENT_DEFAULTS, SourceError, connecting
from pipeline.kafka_watch import CLOSE_SECONDS_MAX, RETRY_SECONDS, Log, Sight, Watch
from pipeline.store import Offset
from schemas.frames import RECORDS, TIME

FUTURE_SECONDS_MAX: Final = 300
"""A record stamped further ahead of the wall clock than this does not move the clock."""

_GATHER_BACKLOG_SECONDS_MAX: Final = 0.3
_UNWANTED_SECONDS: Final = 0.02
_BATCH_BYTES_MAX: Final = 128 * 2**20
_FIRST_BATCH_SHARE: Final = 8
"""The first batch has so much less, and each may have twice as much as the one before: judging need not wait long for it."""
_POLL_RECORDS_MAX: Final = 50_000
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
#: Times that a Python datetime cannot hold in every zone are no times.
_TIMESTAMP_MS_MAX: Final = int(datetime(9998, 12, 31, tzinfo=UTC).timestamp() * 1000)

_RECORDED_AT: Final = (
    pl.when(pl.col("recorded_at").is_between(0, _TIMESTAMP_MS_MAX)).then(pl.col("recorded_at") * 1000).cast(TIME)
)

_CONSUMER_DEFAULTS: Final[Mapping[str, object]] = {
    # A backlog comes in bigger pieces than the client's own 1 MiB. No more than its `fetch_max_bytes`, 50 MiB, come at once.
    "max_partition_fetch_bytes": 4 * 2**20,
    # A fetch costs as much as some hundred records, and a broker that does not wait answers each handful of them by itself.
    "fetch_min_bytes": 2**19,
    "fetch_max_wait_ms": 100,
}

#: What reading from the positions in DuckDB, and nowhere else, depends on.
_CONSUMER_FIXED: Final[Mapping[str, object]] = {
    "auto_offset_reset": "none",
    "enable_auto_commit": False,
    "metrics_enabled": False,
    "max_poll_records": _POLL_RECORDS_MAX,
    # With a group, the client would not read while the group's coordinator is away.
    "group_id": None,
}

log = logging.getLogger(__name__)


class RetentionGapError(SourceError):
    """Kafka no longer has records that were not read yet, and the settings do not allow to go on without them."""


class Gap(NamedTuple):
    """Records that cannot be read any more, or were replaced after they had been read."""

    source: str
    start: int
    """The first offset concerned."""
    end: int | None
    """The first offset after them; None: not known."""
    cause: Literal["deleted", "truncated", "recreated"]
    """`deleted` by retention; the log was `truncated` below what had been read; the topic was deleted and `recreated`."""

    def __str__(self) -> str:
        """One clause, for logs and messages."""
        offsets = f"{self.start}" + ("" if self.end is None else f" to {self.end - 1}")
        return {
            "deleted": f"{self.source}: Kafka deleted the records at offsets {offsets} before they were read",
            "truncated": f"{self.source}: Kafka lost the records at offsets {offsets} after they had been read",
            "recreated": f"{self.source}: the topic was deleted and created again after offset {self.start} had been reached",
        }[self.cause]


class KafkaBatch(NamedTuple):
    """What one poll read."""

    records: pl.DataFrame
    """RECORDS, in the order of offsets within each partition. The value of a tombstone is null."""
    offsets: Mapping[str, Offset]
    """The next position of every partition whose position has changed since the last batch."""
    clock: datetime | None
    """How far the clock may go, all that can be proven with these records read. None: not at all."""
    lag: Mapping[str, int]
    """Records not yet read, by partition, when the log ends were last asked for."""


@dataclass
class _Reading:
    """A partition as this process reads it."""

    source: str
    fingerprint: int | None
    reported: int
    read_until: datetime | None = None

    def has_read_until(self, moment: datetime) -> None:
        self.read_until = moment if self.read_until is None else max(self.read_until, moment)


class KafkaSource:
    """The records of some topics, from the positions where reading stopped before. Not safe for threads, but `acknowledge` is.

    Args:
        settings: keyword arguments of `kafka.KafkaConsumer`, SASL and TLS among them. `group_id`: the group whose offsets
            `acknowledge` commits; without it, none are.
        topics: those to read; the same one twice is one. A topic that does not exist yet is waited for, and holds the clock.
        start: the next position by source (`topic/partition`); others of these topics are read from their beginning.
        batch_records_max: most records in a batch.
        on_gap: whether to `fail` when records are gone that were not read, or to report a gap and `continue`.
        now: the wall clock. Called from two threads.

    Raises:
        SourceUnreachableError: no broker answered.
        SourceError: the client refuses the settings, or the broker does not let us read the topics.
        RetentionGapError: see `poll`.
    """

    def __init__(
        self,
        settings: Mapping[str, Any],
        topics: Iterable[str],
        start: Mapping[str, Offset],
        *,
        batch_records_max: int = 65_536,
        on_gap: Literal["fail", "continue"] = "fail",
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        #: Gaps met so far, oldest first.
        self.gaps: list[Gap] = []
        #: Records so far that were stamped too far ahead of the wall clock to move the clock.
        self.records_from_future = 0
        self._positions = dict(start)
        self._batch_records_max = batch_records_max
        self._batch_bytes_max = _BATCH_BYTES_MAX // _FIRST_BATCH_SHARE
        self._on_gap = on_gap
        self._now = now
        self._readings: dict[TopicPartition, _Reading] = {}
        self._followed: Sight | None = None
        self._failure: SourceError | None = None
        self._truncated: dict[TopicPartition, OffsetAndMetadata | None] = {}
        settings = {**CLIENT_DEFAULTS, **_CONSUMER_DEFAULTS, **settings}
        for name in (settings.keys() & _CONSUMER_FIXED.keys()) - {"group_id"}:
            raise SourceError(
                f"the Kafka client's {name} cannot be set: reading goes on from the positions in the database"
            )
        with connecting(settings):
            self._consumer = KafkaConsumer(**{**settings, **_CONSUMER_FIXED})
            read_in_columns(self._consumer)
            try:
                self._watch = Watch(settings, tuple(dict.fromkeys(topics)), now)
            except BaseException:
                self._consumer.close()
                raise
        try:
            self._follow(self._watch.sight)
        except BaseException:
            self.close()
            raise

    @property
    def partitions(self) -> list[str]:
        """The sources that are read, sorted."""
        return sorted(reading.source for reading in self._readings.values())

    @property
    def backlog(self) -> int:
        """How many records are waiting, as far as is known."""
        logs = self._watch.sight.logs
        return sum(max(0, logs[each].end - self._position(each)) for each in self._readings if each in logs)

    def poll(
        self, timeout_seconds: float, gather_seconds: float = 0.1, wanted: Callable[[], bool] = lambda: True
    ) -> KafkaBatch:
        """Reads the next records; an empty batch when none came in time.

        Waits at most `timeout_seconds` for the first record, and at most `gather_seconds` after it for more, or somewhat longer
        while there is known to be more. As long as the batch is not `wanted` it gathers on: so a backlog comes in big batches,
        and a trickle at once. A full batch comes at once, too.
        Broker outages are waited out: records go on where they stopped, and until then batches are empty.

        Raises:
            RetentionGapError: records that were not read are gone, and `on_gap` is `fail`. What was read before has been given.
            SourceError: records that exist cannot be read: not allowed, corrupt, or compressed with a codec not installed.
        """
        if self._failure is not None:
            raise self._failure
        self._follow(self._watch.sight)
        records = self._gather(timeout_seconds, gather_seconds, wanted)
        sight = self._watch.sight
        positions = {partition: self._position(partition) for partition in self._readings}
        lag: dict[str, int] = {}
        offsets: dict[str, Offset] = {}
        for partition, reading in self._readings.items():
            log_ = sight.logs.get(partition)
            if log_ is not None and log_.fingerprint == reading.fingerprint:
                lag[reading.source] = max(0, log_.end - positions[partition])
                if lag[reading.source] == 0:
                    reading.has_read_until(sight.at)
            if positions[partition] != reading.reported:
                reading.reported = positions[partition]
                offsets[reading.source] = Offset(positions[partition], reading.fingerprint)
        self._positions |= offsets
        return KafkaBatch(records, offsets, self._clock(sight), lag)

    def acknowledge(self, offsets: Mapping[str, Offset]) -> None:
        """Has the group's offsets follow, for lag monitors: soon, in the background, and without consequence if that fails."""
        self._watch.commit(offsets)

    def close(self) -> None:
        """Commits what was acknowledged last and closes the connections, within seconds. May be called twice."""
        self._watch.close()
        self._consumer.close(timeout_ms=CLOSE_SECONDS_MAX * 1000)

    def _gather(self, timeout_seconds: float, gather_seconds: float, wanted: Callable[[], bool]) -> pl.DataFrame:
        chunks: list[pl.DataFrame] = []
        room = self._batch_records_max
        size = 0
        begun = time.monotonic()
        deadline = begun + timeout_seconds
        while True:
            wait_seconds = max(0.0 if wanted() else _UNWANTED_SECONDS, deadline - time.monotonic())
            try:
                got = self._fetch(wait_seconds, min(room, _POLL_RECORDS_MAX))
            except SourceError as error:
                if not chunks:
                    raise
                # Whoever mends it may delete what lies before it.
                self._failure = error
                return pl.concat(chunks).with_columns(_RECORDED_AT)
            if got and not chunks:
                begun = time.monotonic()
            now = self._now()
            for partition, fetched in got.items():
                chunk = self._chunk(self._readings[partition], fetched, now)
                chunks.append(chunk)
                room -= chunk.height
                size += int(chunk.estimated_size())
            if chunks:
                deadline = begun + (_GATHER_BACKLOG_SECONDS_MAX if self.backlog else gather_seconds)
            if room <= 0 or size >= self._batch_bytes_max or (wanted() and time.monotonic() >= deadline):
                self._batch_bytes_max = min(2 * self._batch_bytes_max, _BATCH_BYTES_MAX)
                return pl.concat(chunks).with_columns(_RECORDED_AT) if chunks else RECORDS.to_frame()

    def _fetch(self, wait_seconds: float, records_max: int) -> dict[TopicPartition, list[Any]]:
        try:
            if self._truncated:
                self._return_from_truncated()
            return cast(
                "dict[TopicPartition, list[Any]]",
                self._consumer.poll(timeout_ms=wait_seconds * 1000, max_records=records_max),
            )
        except OffsetOutOfRangeError as error:
            self._return_into_range(error.args[0])
        except LogTruncationError as error:
            self._truncated |= error.divergent_offsets
        except RetriableError:
            time.sleep(min(wait_seconds, RETRY_SECONDS))
        except CorruptRecordError as error:
            # The client cannot read past it.
            raise SourceError(
                f"{error}: restore the partition from a replica, or delete its records up to this one "
                "with kafka-delete-records.sh and set on_retention_gap to continue"
            ) from error
        except KafkaError as error:
            raise SourceError(f"Kafka refuses to be read: {error}") from error
        return {}

    def _chunk(self, reading: _Reading, fetched: Sequence[Any], now: datetime) -> pl.DataFrame:
        """One partition's records as RECORDS, but times still in milliseconds; takes note of how far they reach."""
        chunk = rows(fetched)
        stamps = chunk["recorded_at"]
        limit = (now - _EPOCH + timedelta(seconds=FUTURE_SECONDS_MAX)) // timedelta(milliseconds=1)
        latest = cast("int | None", stamps.filter(stamps.is_between(0, limit)).max())
        if latest is not None:
            # Not past the wall clock: what is appended next may be stamped with any moment from now on.
            reading.has_read_until(min(_EPOCH + timedelta(milliseconds=latest), now))
        self.records_from_future += int((stamps > limit).sum())
        return chunk.select("value", pl.lit(reading.source).alias("source"), "position", "recorded_at")

    def _position(self, partition: TopicPartition) -> int:
        """The next offset to read. Includes what is no record, such as the markers of transactions."""
        try:
            return cast("int", self._consumer.position(partition, timeout_ms=0))
        except LogTruncationError as error:
            # The client says it once, to whoever asks first.
            self._truncated |= error.divergent_offsets
            return cast("int", self._consumer.position(partition, timeout_ms=0))

    def _clock(self, sight: Sight) -> datetime | None:
        if sight.missing or not sight.logs:
            return None
        moments = []
        for partition in sight.logs:
            reading = self._readings.get(partition)
            if reading is None or reading.read_until is None:
                return None
            moments.append(reading.read_until)
        return min(moments)

    def _follow(self, sight: Sight) -> None:
        """Reads what there is now: new partitions, topics made again, and no more of those that are gone."""
        if sight is self._followed:
            return
        begin = {
            partition: log_
            for partition, log_ in sight.logs.items()
            if partition not in self._readings or self._readings[partition].fingerprint != log_.fingerprint
        }
        if begin or sight.logs.keys() != self._readings.keys():
            self._consumer.assign(list(sight.logs))
            self._readings = {
                partition: reading for partition, reading in self._readings.items() if partition in sight.logs
            }
        for partition, log_ in begin.items():
            source = f"{partition.topic}/{partition.partition}"
            self._consumer.seek(partition, self._first_position(source, log_))
            # Reported when it first moves, or at once where it differs from what DuckDB holds.
            known = self._positions.get(source)
            self._readings[partition] = _Reading(source, log_.fingerprint, -1 if known is None else known.position)
        self._followed = sight

    def _first_position(self, source: str, log_: Log) -> int:
        known = self._positions.get(source)
        if known is None:
            return log_.start
        if None not in (known.checksum, log_.fingerprint) and known.checksum != log_.fingerprint:
            self._report(Gap(source, known.position, None, "recreated"))
            return log_.start
        return self._within(source, known.position, log_)

    def _within(self, source: str, position: int, log_: Log) -> int:
        """`position`, or after reporting a gap the nearest one that the log has."""
        if position < log_.start:
            self._report(Gap(source, position, log_.start, "deleted"))
            return log_.start
        if position > log_.end:
            # From the beginning: it may be another log altogether, and to read a fact twice changes nothing.
            self._report(Gap(source, log_.end, position, "truncated"))
            return log_.start
        return position

    def _return_into_range(self, partitions: Iterable[TopicPartition]) -> None:
        """Goes on with `partitions` of whose logs the broker says that they begin later or end earlier than our position."""
        try:
            sight = self._watch.look()
        except KafkaError:
            return  # The broker has gone again; the next fetch will say the same.
        self._follow(sight)
        for partition in self._readings.keys() & set(partitions):
            source, position = self._readings[partition].source, self._position(partition)
            self._consumer.seek(partition, self._within(source, position, sight.logs[partition]))

    def _return_from_truncated(self) -> None:
        """Goes back to where logs that were cut, and may have grown since, are no longer the ones that were read."""
        sight = self._watch.look()
        self._follow(sight)
        lost, self._truncated = self._truncated, {}
        for partition in self._readings.keys() & lost.keys():
            position, log_, divergent = self._position(partition), sight.logs[partition], lost[partition]
            back = log_.start if divergent is None else max(log_.start, divergent.offset)
            if back < position:
                self._report(Gap(self._readings[partition].source, back, position, "truncated"))
                self._consumer.seek(partition, back)

    def _report(self, gap: Gap) -> None:
        self.gaps.append(gap)
        if self._on_gap == "fail":
            raise RetentionGapError(f"{gap}; to go on without them, set on_retention_gap to continue")
        log.warning("%s; going on without them", gap)
