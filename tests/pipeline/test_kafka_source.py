"""KafkaSource against a real broker: every record once, gaps reported, and a clock that rests on what has been read."""

import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import polars as pl
import pytest
from kafka import KafkaProducer
from kafka.errors import CoordinatorNotAvailableError

from pipeline import kafka_source
from pipeline.kafka_connecting import SourceError, SourceUnreachableError
from pipeline.kafka_source import (
    Gap,
    KafkaBatch,
    KafkaSource,
    RetentionGapError,
)
from pipeline.store import Offset
from schemas.frames import RECORDS
from tests.broker import Broker

pytestmark = pytest.mark.kafka

NOW = datetime.now(UTC).replace(microsecond=0)
SECONDS_MAX = 30.0

NewTopic = Callable[..., str]


def source(
    kafka: Broker, *topics: str, start: Mapping[str, Offset] | None = None, **options: Any
) -> closing[KafkaSource]:
    settings = {"bootstrap_servers": kafka.bootstrap, **options.pop("settings", {})}
    return closing(KafkaSource(settings, topics, start or {}, **{"now": lambda: NOW, **options}))


@contextmanager
def producer(kafka: Broker, **settings: Any) -> Iterator[KafkaProducer]:
    client = KafkaProducer(bootstrap_servers=kafka.bootstrap, linger_ms=5, **settings)
    try:
        yield client
    finally:
        client.close()


def produce(
    kafka: Broker, topic: str, values: Sequence[bytes | None], partition: int = 0, at: datetime = NOW, **settings: Any
) -> None:
    with producer(kafka, **settings) as client:
        for value in values:
            client.send(topic, value, key=b"key", partition=partition, timestamp_ms=_ms(at))
        client.flush()


def numbered(count: int) -> list[bytes]:
    return [b'{"number": %d}' % number for number in range(count)]


def polls(source: KafkaSource, until: Callable[[KafkaBatch], bool]) -> list[KafkaBatch]:
    """The batches up to the first that `until` holds for."""
    deadline = time.monotonic() + SECONDS_MAX
    batches = []
    while time.monotonic() < deadline:
        batches.append(source.poll(0.2))
        if until(batches[-1]):
            return batches
    pytest.fail(f"waited {SECONDS_MAX} s in vain; the last batch was {batches[-1]}")


def read(source: KafkaSource, count: int) -> pl.DataFrame:
    """At least `count` records."""
    seen = 0

    def enough(batch: KafkaBatch) -> bool:
        nonlocal seen
        seen += batch.records.height
        return seen >= count

    return pl.concat(batch.records for batch in polls(source, enough))


def positions(records: pl.DataFrame, source: str) -> list[int]:
    return records.filter(source=source)["position"].to_list()


def _ms(at: datetime) -> int:
    return int(at.timestamp() * 1000)


def test_records_of_all_partitions_and_topics_come_as_columns(kafka: Broker, new_topic: NewTopic) -> None:
    orders, scans = new_topic(1), new_topic(2)
    for topic, partition in ((orders, 0), (scans, 0), (scans, 1)):
        produce(kafka, topic, numbered(100), partition)
    with source(kafka, orders, scans, orders) as reading:
        assert reading.partitions == sorted([f"{orders}/0", f"{scans}/0", f"{scans}/1"])
        records = read(reading, 300)
    assert records.schema == RECORDS
    for each in (f"{orders}/0", f"{scans}/0", f"{scans}/1"):
        one = records.filter(source=each)
        assert one["position"].to_list() == list(range(100))
        assert one["value"].to_list() == numbered(100)
        assert one["recorded_at"].unique().to_list() == [NOW]


def test_a_tombstone_is_a_record_without_value_and_an_empty_value_is_empty(kafka: Broker, new_topic: NewTopic) -> None:
    topic = new_topic()
    produce(kafka, topic, [None, b"", b"\xff"])
    with source(kafka, topic) as reading:
        assert read(reading, 3)["value"].to_list() == [None, b"", b"\xff"]


@pytest.mark.parametrize("codec", ["gzip", "zstd"])
def test_compressed_batches_are_read(kafka: Broker, new_topic: NewTopic, codec: str) -> None:
    topic = new_topic()
    produce(kafka, topic, numbered(5000), compression_type=codec, batch_size=2**20)
    with source(kafka, topic) as reading:
        assert read(reading, 5000)["value"].to_list() == numbered(5000)


def test_a_batch_that_is_not_wanted_yet_grows_until_it_is_or_is_full(kafka: Broker, new_topic: NewTopic) -> None:
    topic = new_topic()
    produce(kafka, topic, numbered(10))
    asked: list[int] = []

    def wanted() -> bool:
        # Only after more has come than there was at first, and the time to gather is long over.
        asked.append(1)
        if len(asked) == 20:
            produce(kafka, topic, numbered(5))
        return len(asked) > 60

    with source(kafka, topic, batch_records_max=100) as reading:
        assert reading.poll(5, 0.0, wanted).records.height == 15
    with source(kafka, topic, batch_records_max=12) as reading:
        assert reading.poll(5, 0.0, lambda: False).records.height == 12


def test_of_a_backlog_the_first_batches_are_small(
    kafka: Broker, new_topic: NewTopic, monkeypatch: pytest.MonkeyPatch
) -> None:
    topic = new_topic()
    produce(kafka, topic, [b"x" * 100] * 5000)
    monkeypatch.setattr(kafka_source, "_BATCH_BYTES_MAX", 160_000)
    monkeypatch.setattr(kafka_source, "_POLL_RECORDS_MAX", 10)
    with source(kafka, topic, batch_records_max=10_000) as reading:
        heights = [reading.poll(5, 60, lambda: False).records.height for _ in range(5)]
    assert heights[0] < 200, "of more than a hundred bytes each, the first batch has room for 20,000"
    assert all(1.8 * one < another < 2.2 * one for one, another in pairwise(heights[:4]))
    assert heights[4] == heights[3]


def test_reading_goes_on_from_given_offsets_and_no_batch_exceeds_its_limit(kafka: Broker, new_topic: NewTopic) -> None:
    topic = new_topic(2)
    for partition in (0, 1):
        produce(kafka, topic, numbered(50), partition)
    offsets: dict[str, Offset] = {}
    seen: list[tuple[str, int]] = []
    while len(seen) < 100:
        # As if the process had ended after every batch.
        with source(kafka, topic, start=offsets, batch_records_max=30) as reading:
            (*_, batch) = polls(reading, lambda batch: not batch.records.is_empty())
        assert batch.records.height <= 30
        seen += batch.records.select("source", "position").rows()
        offsets |= batch.offsets
    assert sorted(seen) == [(f"{topic}/{partition}", offset) for partition in (0, 1) for offset in range(50)]
    with source(kafka, topic, start=offsets) as reading:
        assert reading.poll(0.1).offsets == {}, "nothing has moved: there is nothing to commit"
    assert {source: offset.position for source, offset in offsets.items()} == {f"{topic}/0": 50, f"{topic}/1": 50}


def test_the_clock_is_the_earliest_of_what_partitions_have_been_read_until(kafka: Broker, new_topic: NewTopic) -> None:
    topic, count = new_topic(4), 20
    # Partition 3 stays empty. The others' records are a minute apart, and hours apart from each other's.
    stamps = {
        partition: [NOW - timedelta(hours=5 + partition) + timedelta(minutes=n) for n in range(count)]
        for partition in range(3)
    }
    for partition, moments in stamps.items():
        with producer(kafka) as client:
            for moment in moments:
                client.send(topic, b"{}", partition=partition, timestamp_ms=_ms(moment))
            client.flush()

    def expected(read_counts: Mapping[str, int], starts: Mapping[str, int]) -> datetime | None:
        moments = [NOW]
        for partition, of_partition in stamps.items():
            at = read_counts.get(f"{topic}/{partition}", 0)
            if at == count:
                continue
            if at == starts.get(f"{topic}/{partition}", 0):
                return None
            moments.append(of_partition[at - 1])
        return min(moments)

    seen = set()
    offsets: dict[str, Offset] = {}
    for batches in (4, 100):
        # The second source is the first one restarted: it does not know what its predecessor had read until.
        starts = {source: offset.position for source, offset in offsets.items()}
        with source(kafka, topic, start=offsets, batch_records_max=7) as reading:
            for _ in range(batches):
                batch = reading.poll(5)
                offsets |= batch.offsets
                read_counts = {source: offset.position for source, offset in offsets.items()}
                assert batch.clock == expected(read_counts, starts)
                seen.add(batch.clock)
                if batch.clock == NOW:
                    assert set(batch.lag.values()) == {0}
                    break
    assert {None, NOW} < seen, "the clock was neither held nor free in between: the test has lost its subject"


def test_a_record_from_the_future_does_not_move_the_clock_and_is_counted(kafka: Broker, new_topic: NewTopic) -> None:
    topic = new_topic()
    past = NOW - timedelta(minutes=9)
    for at in (past, NOW + timedelta(minutes=5, seconds=1), NOW - timedelta(minutes=3)):
        produce(kafka, topic, [b"{}"], at=at)
    with source(kafka, topic, batch_records_max=2) as reading:
        batch = reading.poll(5)
        assert batch.records.height == 2
        assert batch.clock == past
        assert reading.records_from_future == 1
        assert reading.poll(5).clock == NOW
        assert reading.records_from_future == 1


def test_a_record_slightly_ahead_does_not_push_the_clock_past_the_wall_clock(
    kafka: Broker, new_topic: NewTopic
) -> None:
    topic = new_topic()
    for at in (NOW + timedelta(minutes=5), NOW):
        produce(kafka, topic, [b"{}"], at=at)
    with source(kafka, topic, batch_records_max=1) as reading:
        assert reading.poll(5).clock == NOW
        assert reading.records_from_future == 0


def test_what_arrives_while_the_log_ends_are_asked_for_is_not_taken_for_read(
    kafka: Broker, new_topic: NewTopic
) -> None:
    topic = new_topic()
    arriving = iter([b"{}"])

    def now() -> datetime:
        # The wall clock is looked at first: this record is older than it, and must be among those still to be read.
        if value := next(arriving, None):
            produce(kafka, topic, [value], at=NOW - timedelta(hours=1))
        return NOW

    with source(kafka, topic, now=now) as reading:
        batch = reading.poll(0)
        assert batch.clock is None or not batch.records.is_empty()
        assert polls(reading, lambda batch: batch.clock == NOW)


def test_new_partitions_are_found_and_read_from_their_beginning(kafka: Broker, new_topic: NewTopic) -> None:
    topic = new_topic(1)
    produce(kafka, topic, numbered(3))
    with source(kafka, topic) as reading:
        read(reading, 3)
        kafka.create_partitions(topic, 3)
        produce(kafka, topic, numbered(5), partition=2)
        records = read(reading, 5)
        assert positions(records, f"{topic}/2") == [0, 1, 2, 3, 4]
        assert reading.partitions == [f"{topic}/0", f"{topic}/1", f"{topic}/2"]
        assert polls(reading, lambda batch: batch.clock == NOW)


def test_a_missing_topic_is_waited_for_and_holds_the_clock(
    kafka: Broker, new_topic: NewTopic, topic_name: Callable[[], str], caplog: pytest.LogCaptureFixture
) -> None:
    there, missing = new_topic(), topic_name()
    produce(kafka, there, numbered(3))
    with caplog.at_level(logging.INFO), source(kafka, there, missing) as reading:
        assert f"no topic {missing} at {kafka.bootstrap}: waiting for it" in caplog.text
        assert read(reading, 3).height == 3
        assert reading.poll(0).clock is None
        kafka.create_topic(missing)
        produce(kafka, missing, numbered(2))
        assert read(reading, 2)["source"].unique().to_list() == [f"{missing}/0"]
        assert polls(reading, lambda batch: batch.clock == NOW)
        assert f"topic {missing} is there now" in caplog.text


def test_the_only_topic_may_come_go_and_come_again(kafka: Broker, topic_name: Callable[[], str]) -> None:
    topic = topic_name()
    with source(kafka, topic, on_gap="continue") as reading:
        batch = reading.poll(0.1)
        assert (batch.records.height, batch.clock, dict(batch.lag)) == (0, None, {})
        kafka.create_topic(topic)
        produce(kafka, topic, numbered(2))
        read(reading, 2)
        kafka.delete_topic(topic)
        assert polls(reading, lambda batch: batch.clock is None and not batch.lag)
        kafka.create_topic(topic)
        produce(kafka, topic, numbered(3))
        assert positions(read(reading, 3), f"{topic}/0") == [0, 1, 2]
        assert reading.gaps == [Gap(f"{topic}/0", 2, None, "recreated")]


def test_records_deleted_before_they_were_read_end_the_reading_with_the_way_to_go_on(
    kafka: Broker, new_topic: NewTopic
) -> None:
    topic = new_topic()
    produce(kafka, topic, numbered(10))
    kafka.delete_records(topic, 0, 6)
    with pytest.raises(RetentionGapError) as caught:
        source(kafka, topic, start={f"{topic}/0": Offset(2, None)})
    assert str(caught.value) == (
        f"{topic}/0: Kafka deleted the records at offsets 2 to 5 before they were read; "
        "to go on without them, set on_retention_gap to continue"
    )


def test_with_continue_a_gap_is_reported_once_and_reading_goes_on_after_it(kafka: Broker, new_topic: NewTopic) -> None:
    topic = new_topic()
    produce(kafka, topic, numbered(10))
    kafka.delete_records(topic, 0, 6)
    with source(kafka, topic, start={f"{topic}/0": Offset(2, None)}, on_gap="continue") as reading:
        assert reading.gaps == [Gap(f"{topic}/0", 2, 6, "deleted")]
        batch = reading.poll(5)
        assert reading.poll(0.1).offsets == {}
    assert positions(batch.records, f"{topic}/0") == [6, 7, 8, 9]
    with source(kafka, topic, start=batch.offsets) as again:
        assert again.gaps == []


def test_a_partition_that_was_never_read_has_no_gap_where_its_log_begins_late(
    kafka: Broker, new_topic: NewTopic
) -> None:
    topic = new_topic()
    produce(kafka, topic, numbered(10))
    kafka.delete_records(topic, 0, 6)
    with source(kafka, topic) as reading:
        assert positions(read(reading, 4), f"{topic}/0") == [6, 7, 8, 9]
        assert reading.gaps == []


def test_records_deleted_while_they_are_being_read_are_a_gap(kafka: Broker, new_topic: NewTopic) -> None:
    topic, count = new_topic(), 4000
    # More than the client fetches at once, so that it does not have the end yet.
    produce(kafka, topic, [b"x" * 2000] * count)
    with source(kafka, topic, on_gap="continue", batch_records_max=10) as reading:
        seen = positions(reading.poll(5).records, f"{topic}/0")
        kafka.delete_records(topic, 0, count - 1)
        while seen[-1] != count - 1:
            seen += positions(read(reading, 1), f"{topic}/0")
        (gap,) = reading.gaps
    assert gap.cause == "deleted"
    assert gap.end == count - 1
    assert seen == [*range(gap.start), count - 1]


def test_what_was_read_before_a_gap_is_given_before_the_gap_is_said(kafka: Broker, new_topic: NewTopic) -> None:
    topic, count = new_topic(), 4000
    produce(kafka, topic, [b"x" * 2000] * count)
    with source(kafka, topic, batch_records_max=70) as reading:
        seen = positions(reading.poll(5).records, f"{topic}/0")
        kafka.delete_records(topic, 0, count - 1)
        with suppress(RetentionGapError):
            while seen[-1] < count - 1:
                seen += positions(reading.poll(5).records, f"{topic}/0")
        (gap,) = reading.gaps
    assert seen == list(range(gap.start))


@pytest.mark.parametrize("more", [3, 30], ids=["shorter than before", "longer than before"])
def test_a_topic_that_was_deleted_and_created_again_is_told_from_the_old_one(
    kafka: Broker, new_topic: NewTopic, more: int
) -> None:
    topic = new_topic()
    produce(kafka, topic, numbered(10))
    with source(kafka, topic) as reading:
        offsets = reading.poll(5).offsets
    kafka.delete_topic(topic)
    kafka.create_topic(topic)
    produce(kafka, topic, numbered(more))
    with pytest.raises(RetentionGapError, match="deleted and created again after offset 10 had been reached"):
        source(kafka, topic, start=offsets)
    with source(kafka, topic, start=offsets, on_gap="continue") as reading:
        assert reading.gaps == [Gap(f"{topic}/0", 10, None, "recreated")]
        batch = reading.poll(5)
    assert positions(batch.records, f"{topic}/0") == list(range(more))
    with source(kafka, topic, start=batch.offsets) as again:
        assert again.gaps == []


def test_a_topic_created_again_while_it_is_being_read_is_read_from_its_beginning(
    kafka: Broker, new_topic: NewTopic
) -> None:
    topic = new_topic()
    produce(kafka, topic, numbered(10))
    with source(kafka, topic, on_gap="continue") as reading:
        read(reading, 10)
        kafka.delete_topic(topic)
        kafka.create_topic(topic)
        produce(kafka, topic, numbered(4))
        records = pl.concat(
            batch.records for batch in polls(reading, lambda batch: batch.offsets.get(f"{topic}/0", (0,))[0] == 4)
        )
        assert positions(records, f"{topic}/0")[-4:] == [0, 1, 2, 3]
        assert Gap(f"{topic}/0", 10, None, "recreated") in reading.gaps


def test_a_position_beyond_the_end_of_the_log_is_never_silently_reset(kafka: Broker, new_topic: NewTopic) -> None:
    topic = new_topic()
    produce(kafka, topic, numbered(4))
    beyond = {f"{topic}/0": Offset(9, None)}
    with pytest.raises(RetentionGapError, match="lost the records at offsets 4 to 8 after they had been read"):
        source(kafka, topic, start=beyond)
    with source(kafka, topic, start=beyond, on_gap="continue") as reading:
        assert positions(read(reading, 4), f"{topic}/0") == [0, 1, 2, 3]


@pytest.mark.parametrize("later", [0, 5], ids=["still shorter", "grown again since"])
def test_a_log_that_was_cut_is_read_again_from_where_it_was_cut(
    restartable_kafka: Broker, new_topic: NewTopic, later: int
) -> None:
    kafka, topic = restartable_kafka, new_topic()
    if kafka.data is None:
        pytest.skip("needs the files of the broker: install Java and Maven, so that the tests start their own")
    for value in numbered(10):
        produce(kafka, topic, [value])
    with source(kafka, topic, on_gap="continue") as reading:
        batch = reading.poll(5)
        assert batch.records.height == 10
        kafka.kill()
        # As after a power cut, on a disk that had not written what it said it had: the last two records are gone.
        (log,) = (kafka.data / f"{topic}-0").glob("*.log")
        whole = log.read_bytes()
        log.write_bytes(whole[: len(whole) * 8 // 10 + 5])
        kafka.start()
        if later:
            produce(kafka, topic, [b"later"] * later)
        end = Offset(8 + later, batch.offsets[f"{topic}/0"].checksum)
        batches = polls(reading, lambda batch: batch.offsets.get(f"{topic}/0") == end)
        assert reading.gaps == [Gap(f"{topic}/0", 8, 10, "truncated")]
        values = pl.concat(batch.records for batch in batches)["value"].to_list()
        assert values.count(b"later") == later
        assert polls(reading, lambda batch: batch.clock == NOW)


def test_markers_and_aborted_records_of_transactions_are_no_gaps_and_hold_nothing_back(
    kafka: Broker, new_topic: NewTopic
) -> None:
    topic = new_topic()
    with producer(kafka, transactional_id=topic) as client:
        client.init_transactions()

        def begin(value: bytes) -> None:
            client.begin_transaction()
            client.send(topic, value, partition=0, timestamp_ms=_ms(NOW - timedelta(hours=1)))
            client.flush()

        begin(b"first")
        client.commit_transaction()
        begin(b"aborted")
        client.abort_transaction()
        begin(b"second")
        client.commit_transaction()
        begin(b"still open")
        with source(kafka, topic, settings={"isolation_level": "read_committed"}) as reading:
            batches = polls(reading, lambda batch: batch.clock == NOW)
            records = pl.concat(batch.records for batch in batches)
            assert records.select("position", "value").rows() == [(0, b"first"), (4, b"second")]
            assert batches[-1].lag == {f"{topic}/0": 0}
            assert reading.gaps == []
        client.abort_transaction()


def test_acknowledged_offsets_follow_for_lag_monitors(kafka: Broker, new_topic: NewTopic) -> None:
    topic = new_topic()
    produce(kafka, topic, numbered(10))
    with source(kafka, topic, settings={"group_id": topic}) as reading:
        reading.acknowledge(reading.poll(5).offsets)
        assert polls(reading, lambda _: committed(kafka, topic) == {(f"{topic}/0", 10)})


def committed(kafka: Broker, group: str) -> set[tuple[str, int]]:
    with kafka.admin() as admin:
        try:
            offsets = admin.list_group_offsets({group: None})[group]
        except CoordinatorNotAvailableError:
            return set()  # The first group of a new broker waits for the topic of its offsets.
    return {(f"{partition.topic}/{partition.partition}", offset.offset) for partition, offset in offsets.items()}


@pytest.mark.parametrize("end", ["stop", "kill"])
def test_every_record_is_read_once_across_an_outage_and_the_clock_stands_still_in_it(
    restartable_kafka: Broker, new_topic: NewTopic, caplog: pytest.LogCaptureFixture, end: str
) -> None:
    kafka = restartable_kafka
    topic = new_topic(2)
    for partition in (0, 1):
        produce(kafka, topic, [b"x" * 1000] * 3000, partition)
    with source(kafka, topic, batch_records_max=500, now=lambda: datetime.now(UTC)) as reading:
        records = [reading.poll(5).records]
        {"stop": kafka.stop, "kill": kafka.kill}[end]()
        while not (batch := reading.poll(1)).records.is_empty():
            records.append(batch.records)  # What the client had fetched before.
        polls(reading, lambda _: "does not answer" in caplog.text)
        held = reading.poll(0.1).clock
        assert reading.poll(1.2).clock == held
        kafka.start()
        for partition in (0, 1):
            produce(kafka, topic, [b"y"] * 500, partition)
        while (missing := 7000 - sum(frame.height for frame in records)) > 0:
            records.append(read(reading, missing))
        seen = pl.concat(records)
        for partition in (0, 1):
            assert positions(seen, f"{topic}/{partition}") == list(range(3500))
        moving = polls(reading, lambda batch: batch.clock is not None and batch.clock > (held or batch.clock))
        assert moving
        assert reading.gaps == []
    assert caplog.text.count("does not answer") == 1


def test_an_address_where_no_broker_answers_is_named_with_what_to_do() -> None:
    # Port 9 is for discarding: no broker listens there.
    settings = {"bootstrap_servers": ["127.0.0.1:9"], "bootstrap_timeout_ms": 500}
    with pytest.raises(SourceUnreachableError) as caught:
        KafkaSource(settings, ["parcelwatch.scans"], {})
    assert "127.0.0.1:9" in str(caught.value)
    assert "bootstrap_servers" in str(caught.value)


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        ({"no_such_setting": 1}, "no_such_setting"),
        ({"auto_offset_reset": "latest"}, "auto_offset_reset"),
        ({"ssl_cafile": "/nowhere/ca.pem", "security_protocol": "SSL"}, "Kafka"),
        ({"security_protocol": "SASL_PLAINTEXT", "sasl_mechanism": "NONE"}, "Kafka"),
    ],
)
def test_settings_that_the_client_refuses_are_named(kafka: Broker, settings: dict[str, object], name: str) -> None:
    with pytest.raises(SourceError, match=name):
        source(kafka, "parcelwatch.scans", settings={"bootstrap_timeout_ms": 500, **settings})
