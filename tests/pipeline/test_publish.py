"""Publishing from the outbox in DuckDB to a real broker: in order, at least once, and never in the way of judging."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from kafka import KafkaConsumer, TopicPartition
from kafka.errors import KafkaError

from pipeline import publish
from pipeline.kafka_connecting import SourceError, SourceUnreachableError
from pipeline.publish import RAW_BYTES_MAX, Publisher, sending
from pipeline.store import Commit, Store
from schemas.frames import FLAG_LOG, LETTERS
from tests.broker import Broker

pytestmark = pytest.mark.kafka

T0 = datetime(2026, 3, 1, 12, tzinfo=UTC)
SECONDS_MAX = 30.0

NewTopic = Callable[..., str]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(tmp_path / "parcelwatch.duckdb") as opened:
        yield opened


def commit(store: Store, flags: int = 0, letters: tuple[bytes, ...] = ()) -> None:
    """`flags` changes of flags and some dead letters, numbered on from what is there."""
    begun = store.sql("SELECT count(*) AS n FROM flag_log").item()
    position = store.sql("SELECT count(*) AS n FROM dead_letters").item()
    changes = [
        {
            **dict.fromkeys(FLAG_LOG),
            "flag_id": f"flag-{number}",
            "rule": "no_pickup_scan",
            "platform": "视频号",
            "order_id": f"order-{number}",
            "violated_at": T0 + timedelta(microseconds=number),
            "status": "open",
            "evidence": '{"limit_hours": 24}',
            "change": "opened",
            "changed_at": T0,
        }
        for number in range(begun, begun + flags)
    ]
    posts = [
        {"source": "parcelwatch.scans/0", "position": position + n, "raw": raw, "recorded_at": T0, "error": "no JSON"}
        for n, raw in enumerate(letters)
    ]
    flag_rows, letter_rows = pl.DataFrame(changes, schema=FLAG_LOG), pl.DataFrame(posts, schema=LETTERS)
    store.commit(Commit(facts={}, flags=flag_rows, letters=letter_rows, offsets={}, clock=T0))


def publish_all(publisher: Publisher, store: Store, topic: str, last: int) -> None:
    """Turns of the service until everything up to `last` has been acknowledged."""
    deadline = time.monotonic() + SECONDS_MAX
    while store.published(topic) < last:
        assert time.monotonic() < deadline, f"only {store.published(topic)} of {last} are published"
        publisher.publish(store)


def received(kafka: Broker, topic: str) -> list[tuple[str, dict[str, Any]]]:
    """Key and value of every message of a topic of one partition."""
    partition = TopicPartition(topic, 0)
    with closing(KafkaConsumer(bootstrap_servers=kafka.bootstrap, enable_auto_commit=False)) as consumer:
        consumer.assign([partition])
        consumer.seek_to_beginning()
        end = consumer.end_offsets([partition])[partition]
        messages: list[tuple[str, dict[str, Any]]] = []
        while consumer.position(partition) < end:
            records = consumer.poll(timeout_ms=1000).get(partition, [])
            messages.extend((record.key.decode(), json.loads(record.value)) for record in records)
    return messages


def test_changes_of_flags_arrive_once_in_order_as_json(kafka: Broker, new_topic: NewTopic, store: Store) -> None:
    topic = new_topic()
    commit(store, flags=2500)
    with closing(Publisher({"bootstrap_servers": kafka.bootstrap}, topic, None)) as publisher:
        publish_all(publisher, store, topic, 2500)
        commit(store, flags=3)
        publisher.publish(store)
    with closing(Publisher({"bootstrap_servers": kafka.bootstrap}, topic, None)) as publisher:
        publisher.publish(store)
    messages = received(kafka, topic)
    assert [value["seq"] for _, value in messages] == list(range(1, 2504))
    key, value = messages[7]
    assert key == "order-7"
    assert value == {
        **dict.fromkeys(FLAG_LOG),
        "seq": 8,
        "flag_id": "flag-7",
        "rule": "no_pickup_scan",
        "platform": "视频号",
        "order_id": "order-7",
        "violated_at": "2026-03-01T12:00:00.000007+00:00",
        "status": "open",
        "evidence": {"limit_hours": 24},
        "change": "opened",
        "changed_at": "2026-03-01T12:00:00+00:00",
    }


def test_dead_letters_arrive_with_their_bytes_as_far_as_a_message_can_carry_them(
    kafka: Broker, new_topic: NewTopic, store: Store
) -> None:
    topic = new_topic()
    commit(store, letters=("{坏".encode(), b"\xff\x00", b"\x01" * RAW_BYTES_MAX, b"x" * (RAW_BYTES_MAX + 1)))
    with closing(Publisher({"bootstrap_servers": kafka.bootstrap}, None, topic)) as publisher:
        publish_all(publisher, store, topic, 4)
    messages = received(kafka, topic)
    assert [key for key, _ in messages] == ["parcelwatch.scans/0"] * 4
    assert messages[0][1] == {
        "id": 1, "source": "parcelwatch.scans/0", "position": 0, "raw": "{坏",
        "recorded_at": "2026-03-01T12:00:00+00:00", "error": "no JSON",
    }  # fmt: skip
    assert (messages[1][1]["raw"], messages[1][1]["raw_base64"]) == (None, "/wA=")
    assert messages[2][1]["raw"] == "\x01" * RAW_BYTES_MAX
    assert messages[3][1]["raw"] is None


def test_what_was_sent_but_not_yet_noted_when_the_process_ended_is_sent_again(
    kafka: Broker, new_topic: NewTopic, store: Store
) -> None:
    topic = new_topic()
    commit(store, flags=5)
    crashing = Publisher({"bootstrap_servers": kafka.bootstrap}, topic, None)
    crashing.publish(store)
    assert crashing._producer is not None
    crashing._producer.close()
    with closing(Publisher({"bootstrap_servers": kafka.bootstrap}, topic, None)) as publisher:
        publish_all(publisher, store, topic, 5)
    assert [value["seq"] for _, value in received(kafka, topic)] == [1, 2, 3, 4, 5, 1, 2, 3, 4, 5]


def test_a_topic_that_does_not_exist_yet_is_tried_again_and_said_once(
    kafka: Broker,
    topic_name: Callable[[], str],
    store: Store,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(publish, "_RETRY_SECONDS", 0.0)
    topic = topic_name()
    commit(store, flags=3)
    with closing(Publisher({"bootstrap_servers": kafka.bootstrap}, topic, None)) as publisher:
        publisher.publish(store)
        publisher.publish(store)
        assert store.published(topic) == 0
        kafka.create_topic(topic)
        publish_all(publisher, store, topic, 3)
    assert caplog.text.count(f"cannot publish to {topic}") == 1
    assert [value["seq"] for _, value in received(kafka, topic)] == [1, 2, 3]


def test_an_outage_neither_stops_judging_nor_loses_anything(
    restartable_kafka: Broker, new_topic: NewTopic, store: Store
) -> None:
    kafka, topic = restartable_kafka, new_topic()
    with closing(Publisher({"bootstrap_servers": kafka.bootstrap}, topic, None)) as publisher:
        commit(store, flags=3)
        publish_all(publisher, store, topic, 3)
        kafka.kill()
        for _ in range(20):
            commit(store, flags=1)
            publisher.publish(store)
        assert store.published(topic) == 3
        kafka.start()
        publish_all(publisher, store, topic, 23)
    assert [value["seq"] for _, value in received(kafka, topic)] == list(range(1, 24))


def test_without_topics_nothing_connects(store: Store) -> None:
    with closing(Publisher({"bootstrap_servers": "127.0.0.1:9"}, None, None)) as publisher:
        publisher.publish(store)


def test_an_address_where_no_broker_answers_is_named() -> None:
    with pytest.raises(SourceUnreachableError, match=r"127\.0\.0\.1:9"):
        Publisher({"bootstrap_servers": "127.0.0.1:9", "bootstrap_timeout_ms": 500}, "parcelwatch.flags", None)


def test_everything_sent_has_arrived_when_the_block_ends(kafka: Broker, new_topic: NewTopic) -> None:
    topic = new_topic()
    with sending({"bootstrap_servers": kafka.bootstrap, "fetch_max_wait_ms": 100}) as send:
        for number in range(1000):
            send(topic, f"key-{number}", b'{"number": %d}' % number)
    assert received(kafka, topic) == [(f"key-{number}", {"number": number}) for number in range(1000)]


def test_a_message_that_cannot_be_delivered_is_an_error(kafka: Broker, new_topic: NewTopic) -> None:
    topic = new_topic(configs={"max.message.bytes": "1000"})
    with pytest.raises(KafkaError), sending({"bootstrap_servers": kafka.bootstrap}) as send:
        send(topic, "key", b"x" * 2000)


def test_a_topic_that_nobody_made_is_named(kafka: Broker) -> None:
    with (
        pytest.raises(SourceError, match="nobody-made-this cannot be written to: create this topic"),
        sending({"bootstrap_servers": kafka.bootstrap, "max_block_ms": 300}) as send,
    ):
        send("nobody-made-this", "", b"")
