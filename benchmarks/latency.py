"""How long it takes from an event in Kafka to its flag in a query. See README.md beside this file.

python -m benchmarks.latency [--rate N] [--seconds S] [--warm-up S]
"""

import argparse
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
import psutil

from benchmarks.throughput import ROOT, scratch
from pipeline.reading import query
from pipeline.simulate import ORDERS, SCANS, Simulation
from tests.broker import start_broker

PARTITIONS = 3
PROBES_PER_SECOND = 20
EVENTS_PER_ORDER = 10
PRESSED = 20
"""The simulated two weeks are pressed into one of so many parts, which ends now: then no deadline passes by the wall clock."""
TICK_SECONDS = 0.005
POLL_SECONDS = 0.05
WAIT_SECONDS_MAX = 60

TIMES = re.compile(r'(?<="occurred_at":")[^"]+|(?<="received_at":")[^"]+')
FLAGS = "SELECT rule, order_id FROM flags WHERE starts_with(order_id, 'probe-')"
"""What somebody asks who waits for flags."""

Message = tuple[str, str, str]
"""Topic (of the simulation), key, value."""


# ---------------------------------------------------------------------------------------------------------------- the stream


class Probe(NamedTuple):
    """A violation that is certain as soon as its last event arrives."""

    rule: str
    order_id: str
    before: list[Message]
    last: Message


def event(kind: str, at: datetime, **fields: Any) -> Message:
    """One event as it is sent."""
    topic, key = (SCANS, "waybill_no") if kind == "scan" else (ORDERS, "order_id")
    return topic, fields[key], json.dumps({"type": kind, "occurred_at": at.isoformat(), **fields}, ensure_ascii=False)


def probe(number: int, now: datetime) -> Probe:
    """One of three violations, each of another rule."""
    order_id = f"probe-{number}"
    waybill = {"carrier": "zto", "waybill_no": f"799{number:011}"}
    home, away = {"province": "浙江省", "city": "杭州市"}, {"province": "江苏省", "city": "苏州市"}
    paid, uploaded, scanned = (now - timedelta(hours=hours) for hours in (3, 2, 1))

    def payment(of: str, phone: int) -> Message:
        recipient = {"name": "张三", "phone": f"138{phone:08}"}
        merchant = {"platform": "wechat_channels", "merchant_id": f"m{number % 100}"}
        return event("order_paid", paid, order_id=of, **merchant, amount="19.90", recipient=recipient, address=home)

    upload = event("waybill_uploaded", uploaded, order_id=order_id, **waybill)
    mine = payment(order_id, number)
    if number % 3 == 0:
        last = event("scan", paid - timedelta(hours=1), **waybill, status="picked_up", location=home)
        return Probe("pickup_before_payment", order_id, [mine, upload], last)
    if number % 3 == 1:
        last = event("scan", scanned, **waybill, status="delivered", location=away)
        return Probe("address_mismatch", order_id, [mine, upload], last)
    other = event("waybill_uploaded", uploaded - timedelta(hours=1), order_id=f"other-{number}", **waybill)
    return Probe("waybill_reused", order_id, [mine, payment(f"other-{number}", number + 50_000_000), other], upload)


def background(events: int, now: datetime) -> Iterator[Message]:
    """Everyday life: the simulated stream, in the order in which it is learnt of, its times pressed together."""
    days = 14

    def press(found: re.Match[str]) -> str:
        return (now - (now - datetime.fromisoformat(found[0])) / PRESSED).isoformat()

    simulation = Simulation(
        max(1, events // EVENTS_PER_ORDER), seed=1, start=now - timedelta(days=days), days=days, invalid_share=0
    )
    for messages in simulation.messages():
        for message in messages:
            yield message.topic, message.key, TIMES.sub(press, message.value)


def produce(result: Path, bootstrap: str, topics: Sequence[str], rate: float, seconds: float, warm_up: float) -> None:
    """Say when all is prepared, wait for a line, send, and write to `result` what was sent when. In a process of its own."""
    from kafka import KafkaProducer  # noqa: PLC0415  its memory and threads are the producer's alone

    now = datetime.now(UTC)
    probes = [probe(number, now) for number in range(max(3, int(seconds * PROBES_PER_SECOND)))]
    total, warm = int(rate * (seconds + warm_up)), int(rate * warm_up)
    every = max(1, (total - warm) // len(probes))
    plain = background(total, now)
    messages: list[Message] = [message for one in probes for message in one.before]
    lasts: dict[int, Probe] = {}
    for one in probes:
        while len(messages) < warm + every * len(lasts):
            messages.append(next(plain))
        lasts[len(messages)] = one
        messages.append(one.last)
    messages += (next(plain) for _ in range(total - len(messages)))
    names = dict(zip((ORDERS, SCANS), topics, strict=True))
    encoded = [(names[topic], key.encode(), value.encode()) for topic, key, value in messages]
    producer = KafkaProducer(bootstrap_servers=bootstrap, linger_ms=5, batch_size=128 * 1024)
    for topic in topics:
        producer.partitions_for(topic)
    print("ready", flush=True)
    sys.stdin.readline()
    sent_at: dict[str, float] = {}
    begun, timed_from = time.monotonic(), 0.0
    sent = 0
    while sent < len(encoded):
        due = min(len(encoded), int((time.monotonic() - begun) * rate) + 1)
        for number in range(sent, due):
            if number in lasts:
                timed_from = timed_from or time.monotonic()
                sent_at[lasts[number].order_id] = time.time()
            topic, key, value = encoded[number]
            producer.send(topic, value, key=key)
        sent = due
        time.sleep(TICK_SECONDS)
    producer.flush()
    took = time.monotonic() - timed_from
    producer.close()
    used = psutil.Process().cpu_times()
    told = {
        "sent_at": sent_at,
        "rules": {one.order_id: one.rule for one in probes},
        "events": len(encoded),
        "rate": (len(encoded) - min(lasts)) / took,
        "cpu_seconds": used.user + used.system,
    }
    result.write_text(json.dumps(told))  # to a pipe it may be too long


# ------------------------------------------------------------------------------------------------------------------- the run


class Watcher:
    """Asks the running service again and again which probes it has flagged, and notes when each was first seen."""

    def __init__(self, db: Path) -> None:
        self._db = db
        self.seen_at: dict[tuple[str, str], float] = {}
        self.query_seconds: list[float] = []

    def look(self) -> None:
        """Ask once, and wait for the next time."""
        began = time.monotonic()
        answer = query(self._db, FLAGS)
        now, took = time.time(), time.monotonic() - began
        if "through its writer" not in str(answer.source_note):
            sys.exit("the service did not answer")
        self.query_seconds.append(took)
        for flag in answer.frame.iter_rows():
            self.seen_at.setdefault(flag, now)
        time.sleep(max(0.0, POLL_SECONDS - took))

    def runs(self) -> bool:
        """Whether the service reads Kafka: then its clock has moved."""
        return (
            Path(f"{self._db}.sock").exists()
            and query(self._db, "SELECT clock FROM parcelwatch").frame.item() is not None
        )

    def records_read(self) -> int:
        """How many records the service has committed."""
        return int(query(self._db, "SELECT coalesce(sum(position), 0) FROM offsets").frame.item())


def start(module: str, *arguments: str | Path | float, **streams: Any) -> "subprocess.Popen[str]":
    """Start a process of our own, without anybody's settings."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PARCELWATCH_")}
    command = [sys.executable, "-m", module, *map(str, arguments)]
    return subprocess.Popen(command, cwd=ROOT, env=environment, text=True, **streams)


def measure(here: Path, bootstrap: str, topics: list[str], arguments: argparse.Namespace, log: IO[str]) -> bool:
    """Let the stream run past the service, and print what came of it. Returns whether all was flagged as it must be."""
    db = here / "latency.duckdb"
    times = (arguments.rate, arguments.seconds, arguments.warm_up)
    own = ("--orders-topic", topics[0], "--scans-topic", topics[1])
    result = here / "produced.json"
    sending = ("--produce", result, bootstrap, *topics, *times)
    producer = start("benchmarks.latency", *sending, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    service = start("pipeline", "run", "--db", db, "--bootstrap-servers", bootstrap, *own, "--http-port", 0, stderr=log)
    try:
        assert producer.stdin is not None
        assert producer.stdout is not None
        producer.stdout.readline()
        watcher = Watcher(db)
        while not watcher.runs():
            assert service.poll() is None, "the service has ended"
            time.sleep(0.1)
        producer.stdin.write("go\n")
        producer.stdin.flush()
        time.sleep(arguments.warm_up)
        used = psutil.Process(service.pid).cpu_times()
        began, cpu_before = time.monotonic(), used.user + used.system
        while producer.poll() is None:
            watcher.look()
        read, took = watcher.records_read(), time.monotonic() - began
        used = psutil.Process(service.pid).cpu_times()
        cpu_share = (used.user + used.system - cpu_before) / took
        told = json.loads(result.read_text())
        wanted = {(rule, order_id) for order_id, rule in told["rules"].items()}
        give_up_at = time.monotonic() + WAIT_SECONDS_MAX
        while not wanted <= watcher.seen_at.keys() and time.monotonic() < give_up_at:
            watcher.look()
        told |= {"lag": told["events"] - read, "cpu_share": cpu_share}
        return report(told, watcher, wanted)
    finally:
        if service.poll() is not None:
            print(f"the service has ended: {Path(log.name).read_text()}", file=sys.stderr)
        for process in (producer, service):
            process.terminate()
        for process in (producer, service):
            process.communicate()


def report(told: dict[str, Any], watcher: Watcher, wanted: set[tuple[str, str]]) -> bool:
    """Print the figures; returns whether exactly the probes were flagged."""
    missing, extra = wanted - watcher.seen_at.keys(), watcher.seen_at.keys() - wanted
    waits = [
        at - told["sent_at"][order_id] for (_, order_id), at in watcher.seen_at.items() if order_id in told["sent_at"]
    ]
    print(
        f"{told['events']:,} events produced, {told['rate']:,.0f} a second; {told['lag']:,} not yet committed at the end"
    )
    print(f"service: {told['cpu_share']:.2f} CPUs; producer: {told['cpu_seconds']:.1f} CPU s, its preparation included")
    for name, seconds in (("produced -> visible", waits), ("one query", watcher.query_seconds)):
        p50, p95, p99 = np.percentile(seconds or [np.nan], [50, 95, 99])
        print(
            f"{name:20} p50 {p50:6.3f} s   p95 {p95:6.3f} s   p99 {p99:6.3f} s   max {max(seconds, default=np.nan):6.3f} s"
            f"   of {len(seconds):,}"
        )
    print(f"{len(wanted):,} flags expected: {len(missing)} are missing, {len(extra)} too many")
    return not missing and not extra


def main() -> None:
    """Print the figures; exit status 1 when a flag is missing."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.latency", description=__doc__)
    parser.add_argument("--rate", type=float, default=10_000, help="events a second (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=60, help="for how long (default: %(default)s)")
    parser.add_argument("--warm-up", type=float, default=15, help="and for how long before (default: %(default)s)")
    parser.add_argument("--folder", type=Path, help="where to put the database while it runs")
    parser.add_argument("--produce", nargs=7, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.produce:
        result, bootstrap, *topics = arguments.produce[:4]
        produce(Path(result), bootstrap, topics, *map(float, arguments.produce[4:]))
        return
    broker = start_broker()
    try:
        with scratch(arguments.folder) as here, (here / "service.log").open("w") as log:
            topics = [broker.create_topic(f"bench.{here.name}.{name}", PARTITIONS) for name in (ORDERS, SCANS)]
            right = measure(here, broker.bootstrap, topics, arguments, log)
    finally:
        broker.close()
    sys.exit(not right)


if __name__ == "__main__":
    main()
