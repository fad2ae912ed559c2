"""The comparison with other stream processors: what all of them are given, the two that need no framework, and who is right."""

import json
import sys
from collections import Counter
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from benchmarks.peers import __main__ as command
from benchmarks.peers import measuring
from benchmarks.peers.comparing import Flag, micros, read_flags, verdict
from benchmarks.peers.job import EPOCH, Order, Waybill, clock, decode

ONE = Flag("no_pickup_scan", "o1", "zto", "1", 1)
OTHER = Flag("no_pickup_scan", "o2", "zto", "2", 1)


def test_plain_python_and_parcelwatch_find_what_is_planted(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(command, "environment", lambda name: Path(sys.executable))
    monkeypatch.setattr(sys, "argv", ["peers", "--orders", "300", "--no-kafka", "--only", "parcelwatch", "python"])
    command.main()
    title, _, _, _, *rows = capfd.readouterr().out.splitlines()
    violations = int(title.split(" orders, ")[1].split()[0])
    assert violations > 10
    assert [row.split(" | ")[-1] for row in rows] == [f"all {violations} |"] * 2


def test_a_peer_that_fails_is_shown_and_stops_nobody(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(command, "environment", lambda name: Path("/bin/false"))
    monkeypatch.setattr(sys, "argv", ["peers", "--orders", "100", "--no-kafka", "--only", "python", "bytewax", "quix"])
    command.main()
    *_, python, bytewax, quix = capfd.readouterr().out.splitlines()
    assert python.endswith("| failed |")
    assert bytewax.endswith("| failed |")
    assert quix.endswith("| reads files only into Kafka |")


@pytest.mark.parametrize(
    ("found", "said"),
    [
        ({ONE: 1, OTHER: 1}, "all 2"),
        ({ONE: 1}, "wrong: 1 missing, 0 too many"),
        ({ONE: 1, OTHER: 1, ONE._replace(rule="address_mismatch"): 1}, "wrong: 0 missing, 1 too many"),
        ({ONE: 1, OTHER._replace(violated_at=2): 1}, "wrong: 1 missing, 1 too many"),
        ({ONE: 2, OTHER: 1}, "wrong: 0 missing, 1 too many"),
        ({ONE: 1, OTHER: 0}, "wrong: 1 missing, 0 too many"),
    ],
)
def test_every_difference_is_noticed(found: dict[Flag, int], said: str) -> None:
    assert verdict(Counter(found), {ONE, OTHER}) == said


def test_flags_are_read_from_files_folders_and_streams_of_changes(tmp_path: Path) -> None:
    changes = tmp_path / "changes.ndjson"
    lines = [{**ONE._asdict(), "diff": 1}, {**OTHER._asdict(), "diff": 1}, {**OTHER._asdict(), "diff": -1}]
    changes.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    assert verdict(read_flags(changes), {ONE}) == "all 1"
    parts = tmp_path / "parts"
    parts.mkdir()
    for number, flag in enumerate((ONE, OTHER)):
        (parts / f"part-{number}.json").write_text(f"{json.dumps(flag._asdict())}\n")
    (parts / "_SUCCESS").touch()
    assert verdict(read_flags(parts), {ONE, OTHER}) == "all 2"


def test_what_children_of_children_use_is_measured() -> None:
    grandchild = "b = bytearray(100_000_000)\nimport time\nwhile time.process_time() < 0.5: pass"
    child = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {grandchild!r}])"
    measured = measuring.measure([sys.executable, "-c", child], seconds_max=30)
    assert measured.cpu_seconds >= 0.5
    waiting = f"{child}.wait()"
    assert measuring.measure([sys.executable, "-c", waiting], seconds_max=30).peak_mb > 100


def test_what_takes_too_long_is_ended() -> None:
    with pytest.raises(measuring.PeerFailedError, match="ended after 0 s"):
        measuring.measure([sys.executable, "-c", "import time; time.sleep(60)"], seconds_max=0.3)


# ------------------------------------------------------------------------------------------------- the job in plain Python


def event(kind: str, hours: float, **fields: Any) -> Any:
    given = {"type": kind, "occurred_at": (EPOCH + timedelta(hours=hours)).isoformat(), "order_id": "o1"}
    given |= {"carrier": "zto", "waybill_no": "1", "location": {}}
    given |= {"recipient": {"name": "张三", "phone": "1"}, "address": ADDRESS}
    return decode(json.dumps(given | fields))


ADDRESS = {"province": "浙江省", "city": "杭州市", "district": "西湖区", "detail": "1号"}


def scan(status: str, hours: float, city: str = "杭州市") -> Any:
    return event("scan", hours, status=status, location={"city": city})


def judged(
    *scans: Any, paid: float = 0, up: float = 2, hours: float = 100, others: tuple[Any, ...] = ()
) -> dict[str, float]:
    """The flags of order o1 by rule, with the time of violation in hours."""
    waybill = Waybill()
    for uploaded in (event("waybill_uploaded", up), *others):
        order = Order()
        order.add(uploaded)
        receiver = {"recipient": {"name": uploaded.order_id, "phone": "1"}}
        for shipment in order.add(event("order_paid", paid, order_id=uploaded.order_id, **receiver)):
            waybill.upload(shipment)
    for scanned in scans:
        waybill.scan(scanned)
    flags = map(json.loads, waybill.flags(EPOCH + timedelta(hours=hours)))
    return {flag["rule"]: flag["violated_at"] / 3.6e9 for flag in flags if flag["order_id"] == "o1"}


GOOD = (scan("picked_up", 5), scan("in_transit", 20, "南京市"), scan("delivered", 40))
REUSED = event("waybill_uploaded", 1, order_id="o0")


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        (judged(*GOOD), {}),
        (judged(*reversed(GOOD), *GOOD), {}),
        (judged(*GOOD, paid=5), {}),
        (judged(*GOOD, paid=5.5), {"pickup_before_payment": 5.5}),
        (judged(hours=26), {}),
        (judged(hours=26.1), {"no_pickup_scan": 26}),
        (judged(scan("picked_up", 26), hours=26.5), {}),
        (judged(scan("picked_up", 26.1), hours=26.5), {"no_pickup_scan": 26}),
        (judged(GOOD[0], hours=29), {}),
        (judged(GOOD[0], hours=29.1), {"stalled_after_pickup": 29}),
        (judged(scan("picked_up", 15), *GOOD[1:2], GOOD[0]), {}),
        (judged(GOOD[0], scan("in_transit", 5), scan("info_received", 9), scan("customs", 30)), {"stalled_after_pickup": 29}),
        (judged(*GOOD, scan("delivered", 41, "南京市")), {"address_mismatch": 41}),
        (judged(*GOOD, scan("out_for_delivery", 40, "南京市")), {}),
        (judged(*GOOD, scan("delivered", 41, "南京市"), scan("returning", 50)), {}),
        (judged(*GOOD, others=(REUSED,)), {"waybill_reused": 2}),
        (judged(GOOD[0], up=721, hours=721, others=(REUSED,)), {"waybill_reused": 721, "stalled_after_pickup": 29}),
        (judged(GOOD[0], up=721.1, hours=721, others=(REUSED,)), {"stalled_after_pickup": 29}),
    ],
)  # fmt: skip
def test_the_rules_in_plain_python(flags: dict[str, float], expected: dict[str, float]) -> None:
    assert flags == pytest.approx(expected)


def test_an_order_gives_its_shipments_whatever_comes_first_and_once() -> None:
    order = Order()
    assert order.add(event("waybill_uploaded", 3)) == []
    [shipment] = order.add(event("order_paid", 1))
    assert (micros(shipment.uploaded_at), micros(shipment.paid_at)) == (3 * 3.6e9, 3.6e9)
    assert order.add(event("order_paid", 1)) == order.add(event("waybill_uploaded", 4)) == []
    [earlier] = order.add(event("waybill_uploaded", 2))
    assert earlier.uploaded_at == clock(int(2 * 3.6e9))
