"""Records in columns are those that kafka-python reads one by one: from batches made up here, damaged too, and from a broker."""

import logging
import struct
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import polars as pl
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.consumer.fetcher import Fetcher, IsolationLevel
from kafka.record.default_records import DefaultRecordBatch
from kafka.record.memory_records import MemoryRecords, MemoryRecordsBuilder
from kafka.record.util import calc_crc32c

from pipeline import kafka_columns
from pipeline.kafka_columns import ROWS, read_in_columns, rows
from tests.broker import Broker

PARTITION = TopicPartition("topic", 0)
CODECS = {0: None, 1: "gzip", 2: "snappy", 3: "lz4", 4: "zstd"}
NEWEST, LOG_APPEND_TIME, TRANSACTIONAL, CONTROL = 2, 0x08, 0x10, 0x20
ABORT, COMMIT = struct.pack(">hh", 0, 0), struct.pack(">hh", 0, 1)
MS = 1_767_225_600_000


@pytest.fixture(scope="module", autouse=True)
def _few_are_many() -> Iterator[None]:
    """So that examples of a few records are read in columns, too."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kafka_columns, "_MANY", 1)
        yield


# ------------------------------------------------------------------------------------------ batches made up here


class Made(NamedTuple):
    """A batch to be: what is in it, and what is special about it."""

    records: tuple[tuple[int, bytes | None, bytes | None, tuple[tuple[str, bytes | None], ...]], ...]
    codec: int = 0
    magic: int = NEWEST
    attributes: int = 0
    producer: int = -1
    epoch: int = 0
    missing: tuple[int, ...] = ()
    """By how much offsets jump before each record, and behind the last, as after a compaction."""


class Aborted(NamedTuple):
    producer_id: int
    first_offset: int


def built(batches: Sequence[Made]) -> bytes:
    """The batches as a fetch brings them."""
    return b"".join(each_built(batches))


def each_built(batches: Sequence[Made]) -> list[bytearray]:
    parts, base = [], 0
    for made in batches:
        part, base = (one_built if made.magic == NEWEST else old_built)(made, base)
        parts.append(part)
    return parts


def old_built(made: Made, base: int) -> tuple[bytearray, int]:
    builder = MemoryRecordsBuilder(made.magic, min(made.codec, 1), 10**8, offset=base)
    for at, key, value, _ in made.records:
        builder.append(max(at, 0), key, value)
    builder.close()
    return bytearray(builder.buffer()), base + len(made.records)


def one_built(made: Made, base: int) -> tuple[bytearray, int]:
    """A batch whose first offset is `base`, and the first offset behind it."""
    builder = MemoryRecordsBuilder(NEWEST, made.codec, 10**8)
    jumps = [*made.missing, *[0] * len(made.records)]
    for jump, (at, key, value, headers) in zip(jumps, made.records, strict=False):
        builder.skip(jump)
        builder.append(at, key, value, list(headers))
    builder.skip(sum(made.missing[len(made.records) :]))
    last = builder.next_offset() - 1
    builder.close()
    batch = bytearray(builder.buffer())
    (attributes,) = struct.unpack_from(">h", batch, 21)
    struct.pack_into(">qiiB", batch, 0, base, len(batch) - 12, made.epoch, NEWEST)
    struct.pack_into(">hi", batch, 21, attributes | made.attributes, last)
    struct.pack_into(">q", batch, 43, made.producer)
    return checked(batch), base + last + 1


def checked(batch: bytearray) -> bytearray:
    """The batch with the checksum that it must have."""
    struct.pack_into(">I", batch, 17, calc_crc32c(memoryview(batch)[21:]))
    return batch


class Read(NamedTuple):
    frame: pl.DataFrame
    error: str | None
    position: int
    epoch: int


class Source(NamedTuple):
    """What is read, and how."""

    data: bytes
    fetch_offset: int = 0
    check_crcs: bool = True
    committed_only: bool = False
    aborted: tuple[Aborted, ...] = ()

    def read(self, way: type[Any], taking: Sequence[int] = (10**6,)) -> Read:
        """All of it, as the client does it, taking so many records at a time, over and over."""
        part = way(
            self.fetch_offset,
            PARTITION,
            MemoryRecords(self.data),
            check_crcs=self.check_crcs,
            isolation_level=IsolationLevel.READ_COMMITTED if self.committed_only else IsolationLevel.READ_UNCOMMITTED,
            aborted_transactions=self.aborted,
        )
        frames, error, turn = [ROWS.to_frame()], None, 0
        while part and error is None:
            try:
                taken = part.take(taking[turn % len(taking)])
            except Exception as raised:
                error = repr(raised)
                break
            assert len(taken) <= taking[turn % len(taking)]
            turn += 1
            if taken:
                frames.append(rows(list(taken)))
                assert frames[-1]["position"][-1] < part.next_fetch_offset
        return Read(pl.concat(frames), error, part.next_fetch_offset, part.leader_epoch)


def agreed(source: Source, taking: Sequence[int] = (10**6,)) -> Read:
    """What both ways read, which must be the same."""
    theirs = source.read(Fetcher.PartitionRecords, taking)
    ours = source.read(kafka_columns._InColumns, taking)
    assert ours.frame.equals(theirs.frame)
    assert ours.error == theirs.error
    assert ours.epoch == theirs.epoch
    if ours.error is None:
        assert ours.position == theirs.position
    else:
        # The client stands behind the last record; we, no further than before the damage.
        assert ours.position >= theirs.position
        again = source._replace(fetch_offset=ours.position).read(Fetcher.PartitionRecords)
        assert again.frame.is_empty() or not theirs.frame["position"].is_sorted()
    return ours


def plain(count: int, **special: Any) -> Made:
    return Made(tuple((MS + number, b"key", b"%d" % number, ()) for number in range(count)), **special)


RECORDS = st.tuples(
    st.one_of(st.integers(MS - 100, MS + 100), st.integers(-(2**62), 2**62)),
    st.none() | st.binary(max_size=3),
    st.none() | st.binary(max_size=20) | st.builds(lambda size: b"x" * size, st.sampled_from([63, 64, 8191, 8200])),
    st.lists(st.tuples(st.text(max_size=2), st.none() | st.binary(max_size=2)), max_size=3).map(tuple),
)
BATCHES = st.one_of(
    st.builds(
        Made,
        records=st.lists(RECORDS, min_size=1, max_size=5).map(tuple),
        codec=st.sampled_from([0, 0, *CODECS]),
        magic=st.sampled_from([NEWEST] * 6 + [0, 1]),
        attributes=st.sampled_from([0, 0, LOG_APPEND_TIME, TRANSACTIONAL]),
        producer=st.sampled_from([-1, 7, 8]),
        epoch=st.integers(0, 2),
        missing=st.lists(st.integers(0, 200), max_size=6).map(tuple),
    ),
    st.builds(
        lambda key, producer: Made(((MS, key, b"\0" * 6, ()),), 0, NEWEST, TRANSACTIONAL | CONTROL, producer),
        st.sampled_from([ABORT, COMMIT]),
        st.sampled_from([7, 8]),
    ),
)
TAKING = st.lists(st.integers(1, 12), min_size=1, max_size=3)


@given(st.lists(BATCHES, max_size=6), st.integers(0, 10), TAKING, st.booleans(), st.sets(st.integers(0, 12)))
def test_both_ways_read_the_same(
    batches: list[Made], fetch_offset: int, taking: list[int], committed_only: bool, aborted: set[int]
) -> None:
    transactions = tuple(Aborted(7 + offset % 2, offset) for offset in aborted)
    source = Source(built(batches), fetch_offset, committed_only=committed_only, aborted=transactions)
    assert agreed(source, taking).error is None


@example([plain(3)], [(0, 70, 0x80)], 0, True, [10])
@given(
    st.lists(BATCHES, min_size=1, max_size=4),
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 10_000), st.integers(1, 255)), max_size=3),
    st.integers(0, 100),
    st.booleans(),
    TAKING,
)
def test_both_ways_find_the_same_damage_at_the_same_place(
    batches: list[Made], flipped: list[tuple[int, int, int]], cut: int, check_crcs: bool, taking: list[int]
) -> None:
    parts = each_built(batches)
    for which, place, bits in flipped:
        part = parts[which % len(parts)]
        # Not the first offset, on which nobody checks.
        part[max(8, place % len(part))] ^= bits
    data = b"".join(parts)
    agreed(Source(data[: len(data) - cut], check_crcs=check_crcs), taking)


@given(
    st.lists(BATCHES.filter(lambda made: made.magic == NEWEST), min_size=1, max_size=3),
    st.integers(0, 2),
    st.lists(st.tuples(st.integers(57, 300), st.integers(0, 255)), min_size=1, max_size=3),
    TAKING,
)
def test_what_is_wrong_under_a_right_checksum_is_found_by_both(
    batches: list[Made], which: int, written: list[tuple[int, int]], taking: list[int]
) -> None:
    parts = each_built(batches)
    batch = parts[which % len(parts)]
    for place, byte in written:
        batch[max(57, place % len(batch))] = byte  # Behind the number of records, or in it.
    checked(batch)
    agreed(Source(b"".join(parts)), taking)


def test_batches_are_not_read_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    header = (("name", None), ("other", b"\xff\xfe"))
    batches = [plain(50, codec=codec, epoch=codec) for codec in CODECS]
    batches += [Made(((MS, None, None, header), (MS - 10**9, b"", b"", ()), (MS, b"k", b"x" * 10**5, header)))]
    source = Source(built(batches), fetch_offset=7)
    expected = source.read(Fetcher.PartitionRecords)

    def refuse(*_: Any) -> None:
        raise AssertionError("read one by one")

    monkeypatch.setattr(DefaultRecordBatch, "_read_msg", refuse)
    read = source.read(kafka_columns._InColumns, [100])
    assert read.frame.equals(expected.frame)
    assert read == expected._replace(frame=read.frame)
    assert read.frame.height == 50 * len(CODECS) + 3 - 7


def test_what_comes_before_the_damage_is_taken_before_it_is_said() -> None:
    batches = [plain(3), plain(4), plain(5)]
    data = bytearray(built(batches))
    data[len(built(batches[:2])) - 1] ^= 1
    read = agreed(Source(bytes(data)), [10])
    assert read.frame["position"].to_list() == [0, 1, 2]
    assert read.error is not None
    assert "at offset 3 failed crc check" in read.error
    assert read.position == 3


def test_a_rest_of_a_batch_has_its_own_epoch_and_position() -> None:
    part = kafka_columns._InColumns(0, PARTITION, MemoryRecords(built([plain(2, epoch=1), plain(5, epoch=2)])))
    seen = []
    while part:
        taken = part.take(3)
        seen.append((len(taken), part.leader_epoch, part.next_fetch_offset))
    assert seen[:3] == [(3, 2, 3), (3, 2, 6), (1, 2, 7)]


# ------------------------------------------------------------------------------------------ batches from a broker


@contextmanager
def consumer(kafka: Broker, topic: str, **settings: Any) -> Iterator[KafkaConsumer]:
    client = KafkaConsumer(bootstrap_servers=kafka.bootstrap, enable_auto_commit=False, **settings)
    try:
        client.assign([TopicPartition(topic, 0)])
        yield client
    finally:
        client.close()


def polled(client: KafkaConsumer, topic: str, begin: int, max_records: int) -> tuple[pl.DataFrame, list[int]]:
    """Everything from an offset on, and the positions after each poll that brought something."""
    partition = TopicPartition(topic, 0)
    client.seek(partition, begin)
    (end,) = client.end_offsets([partition]).values()
    frames, positions = [ROWS.to_frame()], []
    while client.position(partition) < end:
        for read in client.poll(200, max_records=max_records).values():
            frames.append(rows(read))
            positions.append(client.position(partition))
            assert frames[-1].height <= max_records
    return pl.concat(frames), positions


def same_from_the_broker(kafka: Broker, topic: str, begins: Sequence[int] = (0,), **settings: Any) -> pl.DataFrame:
    """What both ways read of a topic, which must be the same, from the first of these offsets."""
    first = None
    with consumer(kafka, topic, **settings) as theirs, consumer(kafka, topic, **settings) as ours:
        read_in_columns(ours)
        for begin in begins:
            for max_records in (7, 100_000):
                frame, positions = polled(theirs, topic, begin, max_records)
                mine, my_positions = polled(ours, topic, begin, max_records)
                assert mine.equals(frame)
                assert my_positions[-1:] == positions[-1:]
                first = frame if first is None else first
    assert first is not None
    return first


def send(kafka: Broker, topic: str, count: int, **settings: Any) -> None:
    """Records with and without keys, values and headers, in all sizes, their times going up and down."""
    client = KafkaProducer(bootstrap_servers=kafka.bootstrap, **settings)
    for number in range(count):
        value = [b"{}" * (number % 100), None, b"", b"y" * 9000][number % 7 % 4]
        client.send(
            topic,
            value,
            key=b"of a tombstone" if value is None else [None, b"", b"key"][number % 3],
            headers=[("trace", b"\x00\xff"), ("名", b"")][: number % 5],
            timestamp_ms=MS + (number * 7919) % 1_000_000 * (-1) ** number,
            partition=0,
        )
    client.flush()
    client.close()


@pytest.mark.kafka
@pytest.mark.parametrize("codec", CODECS.values())
def test_all_codecs_and_sizes_are_read_from_everywhere(
    kafka: Broker, new_topic: Callable[..., str], codec: str | None
) -> None:
    topic = new_topic()
    send(kafka, topic, 500, compression_type=codec, linger_ms=50, batch_size=2**18)
    assert same_from_the_broker(kafka, topic, (0, 3, 250, 499)).height == 500


@pytest.mark.kafka
def test_batches_of_one_record_and_records_of_a_megabyte_are_read(kafka: Broker, new_topic: Callable[..., str]) -> None:
    topic = new_topic(1, {"max.message.bytes": str(8 * 2**20)})
    client = KafkaProducer(bootstrap_servers=kafka.bootstrap, max_request_size=8 * 2**20)
    for number in range(100):
        client.send(topic, b"z" * (2**21 if number % 40 == 20 else number), partition=0).get()
    client.close()
    assert same_from_the_broker(kafka, topic, (0, 50)).height == 100


@pytest.mark.kafka
def test_times_that_the_broker_gave_are_read(kafka: Broker, new_topic: Callable[..., str]) -> None:
    topic = new_topic(1, {"message.timestamp.type": "LogAppendTime"})
    send(kafka, topic, 200, linger_ms=50)
    assert same_from_the_broker(kafka, topic)["recorded_at"].min() > MS  # type: ignore[operator]


@pytest.mark.kafka
@pytest.mark.parametrize(("level", "count"), [("read_committed", 60), ("read_uncommitted", 90)])
def test_transactions_are_read_as_asked_for(
    kafka: Broker, new_topic: Callable[..., str], level: str, count: int
) -> None:
    topic = new_topic()
    client = KafkaProducer(bootstrap_servers=kafka.bootstrap, transactional_id=topic, linger_ms=5)
    client.init_transactions()
    for number in range(9):
        client.begin_transaction()
        for value in range(10):
            client.send(topic, b"%d" % value, partition=0)
        client.flush()
        if number % 3 == 1:
            client.abort_transaction()
        else:
            client.commit_transaction()
    client.close()
    assert same_from_the_broker(kafka, topic, (0, 5, 15, 40), isolation_level=level).height == count


@pytest.mark.kafka
def test_a_client_that_is_not_the_known_one_is_left_as_it_is(
    kafka: Broker, new_topic: Callable[..., str], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    topic = new_topic()
    send(kafka, topic, 20)
    monkeypatch.setitem(kafka_columns._LEANS_ON, Fetcher, ("_a_name_of_another_version",))
    with caplog.at_level(logging.WARNING), consumer(kafka, topic) as client:
        read_in_columns(client)
        assert "_a_name_of_another_version: records are read one by one" in caplog.text
        frame, _ = polled(client, topic, 0, 7)
    assert frame["position"].to_list() == list(range(20))
