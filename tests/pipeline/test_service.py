import json
import re
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from pathlib import Path

import pytest
from kafka import KafkaConsumer, KafkaProducer

from pipeline.metrics import HEALTHY_SECONDS_MAX, Health, HttpError, Metrics, MetricsServer
from tests.broker import Broker
from tests.pipeline.commandline import (
    Done,
    Event,
    await_that,
    in_a_process,
    ndjson,
    open_flags,
    parcel,
    rows,
    start,
)


class Topics:
    """Two topics of one test, and what the service needs to read them."""

    def __init__(self, kafka: Broker, new_topic: Callable[..., str], db: Path) -> None:
        self.bootstrap = kafka.bootstrap
        self.orders, self.scans = new_topic(2), new_topic(2)
        self.db = db

    def send(self, lines: Sequence[bytes]) -> None:
        """Send messages, scans and others each to their topic, and wait for the broker to have them."""
        producer = KafkaProducer(bootstrap_servers=self.bootstrap)
        for line in lines:
            topic = self.scans if b'"scan"' in line else self.orders
            producer.send(topic, line, key=line[-30:])
        producer.flush()
        producer.close()

    def send_events(self, events: Sequence[Event]) -> None:
        self.send(ndjson(events).splitlines())

    def arguments(self, *more: str) -> list[str]:
        own = ["--db", str(self.db), "--orders-topic", self.orders, "--scans-topic", self.scans]
        own += ["--bootstrap-servers", self.bootstrap, "--http-port", "0"]
        return ["run", *own, *more]

    def catch_up(self, *more: str) -> Done:
        done = in_a_process(*self.arguments("--until-caught-up", *more), cwd=self.db.parent)
        assert done.status == 0, done.complaint
        return done


@pytest.fixture
def topics(kafka: Broker, new_topic: Callable[..., str], tmp_path: Path) -> Topics:
    return Topics(kafka, new_topic, tmp_path / "d.duckdb")


@contextmanager
def running(topics: Topics, *more: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A running service and the address of its metrics; whatever happens, it runs no longer afterwards."""
    port = free_port()
    with start(*topics.arguments(*more, "--http-port", str(port)), cwd=topics.db.parent) as process:
        yield process, f"http://127.0.0.1:{port}"


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def fetch(url: str) -> tuple[int, str]:
    """Status and text; status 0 while nobody answers."""
    try:
        with urllib.request.urlopen(url, timeout=10) as response:
            return response.status, response.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()
    except OSError:
        return 0, ""


def metric(address: str, name: str) -> float:
    """The sum of a metric over its labels; 0 while it is not there."""
    _, text = fetch(f"{address}/metrics")
    return sum(map(float, re.findall(rf"^{name}(?:{{.*}})? (\S+)$", text, re.MULTILINE)))


def ended(process: subprocess.Popen[str]) -> tuple[int, str]:
    """The exit status and standard error of a process that ends now."""
    _, complaint = process.communicate(timeout=30)
    return process.returncode, complaint


FACTS = "SELECT (SELECT count(*) FROM order_facts) o, (SELECT count(*) FROM uploads) u, (SELECT count(*) FROM scans) s"


@pytest.mark.kafka
def test_everything_in_the_topics_is_judged_once_however_often_the_service_runs(topics: Topics) -> None:
    topics.send_events([*parcel(1), *parcel(2, picked_up=False)])
    topics.send([b"garbage"])
    log = topics.catch_up().complaint
    assert "4 partitions" in log
    assert "7 events" in log
    assert "1 dead letters" in log
    assert open_flags(topics.db) == {("no_pickup_scan", "o2")}
    topics.send_events([*parcel(1), *parcel(3, picked_up=False)])
    assert "7 events" in topics.catch_up().complaint
    assert open_flags(topics.db) == {("no_pickup_scan", "o2"), ("no_pickup_scan", "o3")}
    assert rows(FACTS, topics.db) == [{"o": 3, "u": 3, "s": 3}]
    assert len(rows("FROM flag_history", topics.db)) == 2
    assert "0 events" in topics.catch_up().complaint


@pytest.mark.kafka
@pytest.mark.parametrize("signal_number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_service_in_order(topics: Topics, signal_number: int) -> None:
    topics.send_events([*parcel(1), *parcel(2, picked_up=False)])
    with running(topics) as (process, address):
        await_that(lambda: metric(address, "parcelwatch_flag_changes_total") == 1)
        process.send_signal(signal_number)
        status, log = ended(process)
    assert status == 0
    assert "Traceback" not in log
    assert log.splitlines()[-1].endswith("stopped: everything judged is committed")
    assert open_flags(topics.db) == {("no_pickup_scan", "o2")}
    assert not Path(f"{topics.db}.wal").exists()


@pytest.mark.kafka
def test_a_killed_service_goes_on_without_losing_or_doubling_anything(topics: Topics) -> None:
    events = [event for n in range(600) for event in parcel(n, picked_up=n % 3 > 0)]
    topics.send_events(events)
    with running(topics, "--batch-records-max", "50", "--copy-every-seconds", "0.2") as (process, address):
        await_that(lambda: metric(address, "parcelwatch_events_total") > 200)
        process.send_signal(signal.SIGKILL)
        process.wait(timeout=30)
    topics.catch_up()
    assert rows(FACTS, topics.db) == [{"o": 600, "u": 600, "s": 1200}]
    assert open_flags(topics.db) == {("no_pickup_scan", f"o{n}") for n in range(0, 600, 3)}
    assert len(rows("FROM flag_history", topics.db)) == 200


@pytest.mark.kafka
def test_a_running_service_tells_how_it_is_and_can_be_asked(topics: Topics) -> None:
    topics.send_events([*parcel(1), *parcel(2, picked_up=False), *parcel(1)])
    topics.send([b"garbage"])
    with running(topics, "--copy-every-seconds", "0.1", "--summary-every-seconds", "0.2") as (process, address):
        await_that(lambda: metric(address, "parcelwatch_events_total") == 12)
        assert metric(address, "parcelwatch_facts_total") == 7
        assert metric(address, "parcelwatch_duplicates_total") == 5
        assert metric(address, "parcelwatch_dead_letters_total") == 1
        assert (
            'parcelwatch_flag_changes_total{change="opened",rule="no_pickup_scan"} 1.0'
            in fetch(f"{address}/metrics")[1]
        )
        await_that(lambda: metric(address, "parcelwatch_partition_lag_records") == 0)
        await_that(lambda: 0 < metric(address, "parcelwatch_clock_behind_seconds") < 5)
        assert metric(address, "parcelwatch_state_entries") > 0
        assert metric(address, "parcelwatch_batch_seconds_count") >= 1
        status, body = fetch(f"{address}/healthz")
        health = json.loads(body)
        assert (status, health["status"], health["lag_records"]) == (200, "ok", 0)
        assert datetime.fromisoformat(health["clock"]) <= datetime.fromisoformat(health["last_commit"])
        await_that(lambda: open_flags(topics.db) == {("no_pickup_scan", "o2")})
        assert process.poll() is None
        process.terminate()
        status, log = ended(process)
    assert status == 0
    assert "flags opened: no_pickup_scan 1" in log


@pytest.mark.kafka
def test_a_running_service_purges_what_is_older_than_the_retention(topics: Topics) -> None:
    def event_of(number: int, days: int) -> Event:
        when = (datetime.now(UTC) - timedelta(days=days)).isoformat()
        return {"type": "order_cancelled", "order_id": f"o{number}", "occurred_at": when, "received_at": when}

    topics.send_events([event_of(1, 40), event_of(2, 37)])
    topics.catch_up("--retention-days", "38")  # heard of just now: it is in memory
    with running(topics, "--retention-days", "38") as (process, address):
        await_that(lambda: metric(address, "parcelwatch_purged_rows_total") == 1)
        process.send_signal(signal.SIGTERM)
        assert ended(process)[0] == 0
    assert rows("SELECT order_id FROM order_facts", topics.db) == [{"order_id": "o2"}]


@pytest.mark.kafka
def test_a_deadline_that_passes_while_nothing_comes_is_flagged(topics: Topics) -> None:
    due_at = datetime.now(UTC) + timedelta(seconds=8)
    order = {"order_id": "o1", "platform": "wechat_channels", "merchant_id": "m"}
    uploaded_at = (due_at - timedelta(hours=24)).isoformat()
    topics.send_events(
        [
            {"type": "order_paid", "occurred_at": uploaded_at, **order},
            {
                "type": "waybill_uploaded",
                "occurred_at": uploaded_at,
                "order_id": "o1",
                "carrier": "zto",
                "waybill_no": "1",
            },
        ]
    )
    with running(topics) as (_, address):
        await_that(lambda: metric(address, "parcelwatch_events_total") == 2)
        assert metric(address, "parcelwatch_flag_changes_total") == 0 or datetime.now(UTC) >= due_at
        await_that(lambda: metric(address, "parcelwatch_flag_changes_total") == 1)
        assert datetime.now(UTC) >= due_at


@pytest.mark.kafka
def test_flags_and_dead_letters_are_published_where_that_is_asked_for(
    topics: Topics, new_topic: Callable[..., str]
) -> None:
    flags, letters = new_topic(), new_topic()
    topics.send_events(parcel(2, picked_up=False))
    topics.send([b"garbage"])
    topics.catch_up("--flags-topic", flags, "--letters-topic", letters)
    published = {}
    for topic in (flags, letters):
        consumer = KafkaConsumer(topic, bootstrap_servers=topics.bootstrap, auto_offset_reset="earliest", group_id=None)
        batches: list[list[object]] = []
        await_that(lambda consumer=consumer, batches=batches: batches.extend(consumer.poll(200).values()) or batches)
        published[topic] = [json.loads(record.value) for batch in batches for record in batch]
        consumer.close()
    assert [(flag["rule"], flag["order_id"], flag["change"]) for flag in published[flags]] == [
        ("no_pickup_scan", "o2", "opened")
    ]
    assert [letter["raw"] for letter in published[letters]] == ["garbage"]


@pytest.mark.kafka
def test_a_simulated_stream_goes_through_kafka_and_is_flagged_as_its_labels_say(topics: Topics) -> None:
    own = ["--bootstrap-servers", topics.bootstrap, "--orders-topic", topics.orders, "--scans-topic", topics.scans]
    # Long ago, so that no deadline is still to pass while the wall clock is the clock.
    more = [
        "--orders",
        "100",
        "--start",
        "2025-03-01T00:00:00+08:00",
        "--invalid-share",
        "0",
        "--labels",
        "labels.ndjson",
    ]
    done = in_a_process("simulate", *own, *more, cwd=topics.db.parent)
    assert (done.status, done.complaint) == (0, "")
    topics.catch_up()
    labels = [json.loads(line) for line in (topics.db.parent / "labels.ndjson").read_text().splitlines()]
    keys = ("rule", "order_id", "carrier", "waybill_no")
    flags = {tuple(row[key] for key in keys) for row in rows("FROM flags WHERE status <> 'cleared'", topics.db)}
    assert {tuple(label[key] for key in keys) for label in labels} <= flags


@pytest.mark.kafka
def test_records_that_kafka_deleted_unread_stop_the_service_unless_it_may_go_on(topics: Topics, kafka: Broker) -> None:
    topics.send_events(parcel(2, picked_up=False))
    topics.catch_up()
    topics.send_events([event for n in range(10, 30) for event in parcel(n, picked_up=False)])
    for partition in range(2):
        kafka.delete_records(topics.orders, partition, -1)
    failed = in_a_process(*topics.arguments("--until-caught-up"), cwd=topics.db.parent)
    assert failed.status == 1
    assert "on_retention_gap" in failed.complaint.splitlines()[-1]
    assert "Traceback" not in failed.complaint
    assert "Kafka deleted the records" in topics.catch_up("--on-retention-gap", "continue").complaint


# ------------------------------------------------------------------------------------------------------- without a broker


def test_a_broker_that_does_not_answer_is_named_in_one_line(tmp_path: Path) -> None:
    arguments = ["run", "--bootstrap-servers", f"127.0.0.1:{free_port()}", "--http-port", "0"]
    done = in_a_process(*arguments, cwd=tmp_path, PARCELWATCH_KAFKA__BOOTSTRAP_TIMEOUT_MS="500")
    assert (done.status, done.out, done.complaint.count("\n")) == (1, "", 1)
    assert done.complaint.startswith("parcelwatch: ")
    assert "127.0.0.1" in done.complaint


def test_a_client_setting_that_does_not_exist_is_named_in_one_line(tmp_path: Path) -> None:
    done = in_a_process("run", "--http-port", "0", cwd=tmp_path, PARCELWATCH_KAFKA__BOGUS="1")
    assert (done.status, done.complaint.count("\n")) == (1, 1)
    assert "bogus" in done.complaint


def test_a_port_in_use_is_named_before_anything_else_is_touched(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        done = in_a_process("run", "--http-port", str(port), cwd=tmp_path)
    assert (done.status, done.complaint.count("\n")) == (1, 1)
    assert f"127.0.0.1:{port}" in done.complaint
    assert "--http-port" in done.complaint
    assert list(tmp_path.iterdir()) == []


def test_the_health_is_good_only_while_the_loop_turns() -> None:
    now = time.monotonic()
    clock = datetime(2025, 3, 1, tzinfo=UTC)
    good = Health(now - HEALTHY_SECONDS_MAX + 10, clock, clock, {"t/0": 3, "t/1": 4}).answer()
    assert good[0] == HTTPStatus.OK
    assert (good[1]["clock"], good[1]["lag_records"]) == ("2025-03-01T00:00:00+00:00", 7)
    stalled = Health(now - HEALTHY_SECONDS_MAX - 1).answer()
    assert (stalled[0], stalled[1]["status"]) == (HTTPStatus.SERVICE_UNAVAILABLE, "stalled")
    starting = Health().answer()
    assert (starting[0], starting[1]["status"]) == (HTTPStatus.SERVICE_UNAVAILABLE, "starting")


def test_the_metrics_server_answers_what_it_has_and_says_what_that_is() -> None:
    metrics = Metrics("1.2.3")
    metrics.set_clock(datetime.now(UTC) - timedelta(seconds=100))
    with MetricsServer(metrics, "127.0.0.1", 0) as server:
        address = f"http://127.0.0.1:{server.port}"
        assert 'parcelwatch_build_info{version="1.2.3"} 1.0' in fetch(f"{address}/metrics")[1]
        assert 100 <= metric(address, "parcelwatch_clock_behind_seconds") < 130
        assert fetch(f"{address}/healthz")[0] == 503
        status, text = fetch(f"{address}/")
        assert (status, "/metrics" in text) == (404, True)
        with pytest.raises(HttpError, match="--http-port"):
            MetricsServer(metrics, "127.0.0.1", server.port)
    assert fetch(f"{address}/metrics")[0] == 0


def test_a_client_that_says_nothing_keeps_nobody_from_an_answer() -> None:
    with (
        MetricsServer(Metrics("1"), "127.0.0.1", 0) as server,
        socket.create_connection(("127.0.0.1", server.port)),
    ):
        assert fetch(f"http://127.0.0.1:{server.port}/metrics")[0] == 200
