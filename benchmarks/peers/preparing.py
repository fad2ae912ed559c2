"""The stream that all peers read, and the flags that they must find: a simulated stream, reduced to plain facts.

What is left out: orders with anything but payments, uploads and scans (cancellations, exemptions, replacements, after-sales cases,
changed addresses), categories of their own and addresses in one line, and every order that shares a number with one of these.
Cities are written alike in addresses and scans, so that a comparison of strings will do.
"""

import json
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, Final, NamedTuple

from benchmarks.peers.comparing import Flag, micros
from pipeline.simulation.world import CITIES

ROOT: Final = Path(__file__).resolve().parents[2]
RULES: Final = ("pickup_before_payment", "no_pickup_scan", "stalled_after_pickup", "waybill_reused", "address_mismatch")

BY_THE_CLOCK: Final = {"no_pickup_scan", "stalled_after_pickup"}
"""Of these rules, those that time alone can break."""
_KEPT: Final = {"order_paid", "waybill_uploaded", "scan"}
# A county directly under its province stands in the district field of addresses; orders to these are left out.
_CITY_OF: Final = {city.short: city.name for city in CITIES if "直辖" not in city.name}

Event = dict[str, Any]


class Prepared(NamedTuple):
    """The stream as NDJSON, how long it is, the largest `received_at` in it (the clock), and the flags that hold then."""

    stream: Path
    events: int
    orders: int
    as_of: datetime
    expected: frozenset[Flag]


def prepare(folder: Path, orders: int, seed: int) -> Prepared:
    """Simulate so many orders, and write what is left of them to `folder`."""
    simulated, stream = folder / "simulated.ndjson", folder / "stream.ndjson"
    command = ["pipeline", "simulate", "--orders", orders, "--seed", seed, "--invalid-share", 0, "--out", simulated]
    subprocess.run([sys.executable, "-m", *map(str, command)], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    events = [json.loads(line) for line in simulated.read_bytes().splitlines()]
    left_out = _left_out(events)
    kept_orders = {event["order_id"] for event in events if event["type"] == "order_paid"} - left_out
    numbers = {_number(event) for event in events if _is_upload(event) and event["order_id"] in kept_orders}
    kept = [event for event in events if _stays(event, kept_orders, numbers)]
    as_of = max(datetime.fromisoformat(event["received_at"]) for event in kept)
    with stream.open("w", encoding="utf-8") as out:
        out.writelines(f"{json.dumps(_plain(event), ensure_ascii=False, separators=(',', ':'))}\n" for event in kept)
    labels = map(json.loads, Path(f"{simulated}.labels.ndjson").read_bytes().splitlines())
    expected = frozenset(_expected(labels, kept_orders, as_of))
    simulated.unlink()
    return Prepared(stream, len(kept), len(kept_orders), as_of, expected)


def _is_upload(event: Event) -> bool:
    return bool(event["type"] == "waybill_uploaded")


def _number(event: Event) -> tuple[str, str]:
    return event["carrier"], event["waybill_no"]


def _left_out(events: list[Event]) -> set[str]:
    """Return the orders that are touched by anything else, and those that share numbers with them."""
    closures = [event for event in events if event["type"] == "exemption_granted" and "order_id" not in event]
    merchants = {closure["merchant_id"] for closure in closures if "merchant_id" in closure}
    regions = {closure["region"] for closure in closures if "region" in closure}
    replaced = {
        number
        for event in events
        if event["type"] == "waybill_replaced"
        for number in (_number(event), (event["new_carrier"], event["new_waybill_no"]))
    }
    touched: set[str] = set()
    numbers_of: dict[str, set[tuple[str, str]]] = defaultdict(set)
    orders_of: dict[tuple[str, str], set[str]] = defaultdict(set)
    for event in events:
        order = event.get("order_id")
        if _is_upload(event):
            numbers_of[order].add(_number(event))
            orders_of[_number(event)].add(order)
            if _number(event) in replaced:
                touched.add(order)
        elif event["type"] == "order_paid":
            address = event["address"]
            elsewhere = "text" in address or "直辖" in address["city"] or address["province"] in regions
            if elsewhere or "category" in event or event["merchant_id"] in merchants:
                touched.add(order)
        elif order is not None:
            touched.add(order)
    reached = list(touched)
    while reached:
        neighbours = {other for number in numbers_of[reached.pop()] for other in orders_of[number]} - touched
        touched |= neighbours
        reached += neighbours
    return touched


def _stays(event: Event, orders: set[str], numbers: set[tuple[str, str]]) -> bool:
    if event["type"] == "scan":
        return _number(event) in numbers
    return event["type"] in _KEPT and event["order_id"] in orders


def _plain(event: Event) -> Event:
    place = event.get("location")
    if place is not None and "city" in place:
        place["city"] = _CITY_OF.get(place["city"], place["city"])
    return event


def _expected(labels: Iterable[Event], orders: set[str], as_of: datetime) -> Iterator[Flag]:
    for label in labels:
        if label["rule"] in RULES and label["order_id"] in orders:
            at = datetime.fromisoformat(label["violated_at"])
            if label["rule"] not in BY_THE_CLOCK or at < as_of:
                yield Flag(label["rule"], label["order_id"], label["carrier"], label["waybill_no"], micros(at))
