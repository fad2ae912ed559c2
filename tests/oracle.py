"""A second, naive reading of the rules, which judges the first.

`judge` takes the events as they are written (dicts, times as text) and says which flags there must be, one order at a
time, with nothing but the standard library and nothing of the project. It is meant to be read next to the specification:
every rule is one function under the sentence that it implements, and `oracle_places` reads places. Slow and plain on purpose; a
few thousand orders are fine.

Not judged here: whether an event is valid (give it valid ones), what a flag's evidence says, when it was detected, and how it
came and went. Where facts contradict each other at one microsecond and the rules leave open which counts (two different
payments of one order, say), the answer is one of those allowed, and the same in whatever order the facts come.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any, Final, NamedTuple

from tests.oracle_places import Place, city_of, differ, plain

Waybill = tuple[str, str]

HOUR: Final = timedelta(hours=1)
DAY: Final = 24 * HOUR

ABOUT_ORDER: Final = {"order_paid", "waybill_uploaded", "order_cancelled", "address_changed", "exemption_granted"}
ABOUT_WAYBILL: Final = {"waybill_uploaded", "scan", "waybill_replaced"}

NO_MOVEMENT: Final = {"picked_up", "info_received", "cancelled"}
HUB: Final = {"arrived_at_facility", "departed_facility", "out_for_delivery", "available_for_pickup", "delivered"}
TURNED_BACK: Final = {"returning", "returned", "forwarded"}
DROP_RANK: Final = {"out_for_delivery": 0, "available_for_pickup": 1, "delivered": 2}


class Flag(NamedTuple):
    """A violation: of which rule, by what, since when. `status` is `open` or `exempt`.

    `carrier` and `waybill_no` are None for the rules about the order. `violated_at` is in UTC.
    """

    rule: str
    order_id: str
    carrier: str | None
    waybill_no: str | None
    violated_at: datetime
    status: str


def judge(events: Iterable[Mapping[str, Any]], as_of: datetime | None = None) -> set[Flag]:
    """Return the flags that stand at `as_of`, given what had been received by then.

    Args:
        events: Valid events, in any order, with any repetitions.
        as_of: The clock; by default the largest `received_at` (which is by default `occurred_at`).
    """
    facts = list(events)
    if not facts:
        return set()
    clock = as_of if as_of is not None else max(received_at(fact) for fact in facts)
    known = Known([fact for fact in facts if received_at(fact) <= clock], clock)
    return {flag for order_id in known.order_ids for flag in flags_of(known.order(order_id), known)}


# ---------------------------------------------------------------------------------------------------------------- facts


@cache
def moment(text: str) -> datetime:
    """Return the time that `text` (RFC 3339) names, in UTC."""
    return datetime.fromisoformat(text.upper()).astimezone(UTC)


def at(fact: Mapping[str, Any]) -> datetime:
    """Return when the fact happened."""
    return moment(fact["occurred_at"])


def received_at(fact: Mapping[str, Any]) -> datetime:
    """Return when the platform learned of the fact."""
    return moment(fact.get("received_at") or fact["occurred_at"])


class Identity(NamedTuple):
    """Who an order goes to, and where; None for what is not given."""

    name: str | None
    phone: str | None
    address: str | None


@dataclass(frozen=True)
class Order:
    """What is known of one order at `as_of`."""

    order_id: str
    as_of: datetime
    platform: str | None
    paid: datetime | None
    ship_within: timedelta
    first_upload: datetime | None
    cancelled: datetime | None
    exemptions: list[Mapping[str, Any]]
    identity: Identity
    city: Place | None


@dataclass(frozen=True)
class Shipment:
    """One order's parcel: an uploaded waybill and the scans that count for it. `up` is the earliest such upload."""

    order: Order
    carrier: str
    waybill_no: str
    up: datetime
    scans: list[Mapping[str, Any]]
    earlier_uses: list[tuple[datetime, Identity]]
    """The uploads of this waybill by other orders that came before this one (by time, then order id)."""

    @property
    def pickups(self) -> list[Mapping[str, Any]]:
        """The `picked_up` scans, the earliest first."""
        return sorted((scan for scan in self.scans if scan["status"] == "picked_up"), key=by_time_and_content)

    @property
    def picked_up(self) -> datetime | None:
        """`P` = the earliest `picked_up` scan."""
        return earliest(at(scan) for scan in self.pickups)

    def first_after_pickup(self, statuses: set[str]) -> datetime | None:
        """Return the time of the first scan later than P with one of these statuses."""
        picked_up = self.picked_up
        if picked_up is None:
            return None
        return earliest(at(scan) for scan in self.scans if scan["status"] in statuses and at(scan) > picked_up)


class Known:
    """The facts known at `as_of`, looked up by order and by waybill."""

    def __init__(self, facts: list[Mapping[str, Any]], as_of: datetime) -> None:
        self.as_of = as_of
        self.of_order: dict[tuple[str, str], list[Mapping[str, Any]]] = defaultdict(list)
        self.of_waybill: dict[tuple[str, Waybill], list[Mapping[str, Any]]] = defaultdict(list)
        self.order_ids: set[str] = set()
        for fact in facts:
            if fact["type"] in ABOUT_WAYBILL:
                self.of_waybill[fact["type"], (fact["carrier"], fact["waybill_no"])].append(fact)
            if fact["type"] in ABOUT_ORDER:
                self.of_order[fact["type"], fact["order_id"]].append(fact)
                self.order_ids.add(fact["order_id"])

    def order(self, order_id: str) -> Order:
        """Of several `order_paid`, the earliest counts; of several cancellations too."""
        payments = sorted(self.of_order["order_paid", order_id], key=by_time_and_content)
        payment = payments[0] if payments else None
        hours = (payment or {}).get("ship_within_hours")
        return Order(
            order_id=order_id,
            as_of=self.as_of,
            platform=payment["platform"] if payment else None,
            paid=at(payment) if payment else None,
            ship_within=hours * HOUR if hours is not None else 48 * HOUR,
            first_upload=earliest(at(upload) for upload in self.of_order["waybill_uploaded", order_id]),
            cancelled=earliest(at(fact) for fact in self.of_order["order_cancelled", order_id]),
            exemptions=self.of_order["exemption_granted", order_id],
            identity=self.identity(order_id),
            city=city_of(self.address(order_id)),
        )

    def address(self, order_id: str) -> Mapping[str, Any]:
        """The delivery address is the latest `address_changed`, else the order's own."""
        changes = sorted(self.of_order["address_changed", order_id], key=by_time_and_content)
        payments = sorted(self.of_order["order_paid", order_id], key=by_time_and_content)
        in_force = changes[-1:] or payments[:1]
        return (in_force[0].get("address") or {}) if in_force else {}

    def identity(self, order_id: str) -> Identity:
        """The recipient is that of the latest `address_changed` that gives one, else the order's own."""
        changes = sorted(self.of_order["address_changed", order_id], key=by_time_and_content)
        payments = sorted(self.of_order["order_paid", order_id], key=by_time_and_content)
        recipients = [
            recipient
            for fact in [*reversed(changes), *payments[:1]]
            if (recipient := fact.get("recipient") or {}).get("name") or recipient.get("phone")
        ]
        recipient = recipients[0] if recipients else {}
        address = self.address(order_id)
        parts = (address.get(part) or "" for part in ("province", "city", "district", "detail", "text"))
        return Identity(
            name=plain(recipient.get("name")), phone=plain(recipient.get("phone")), address=plain("".join(parts))
        )

    def shipments(self, order: Order) -> Iterator[Shipment]:
        """Of several uploads of one waybill for one order, the earliest counts."""
        uploads = self.of_order["waybill_uploaded", order.order_id]
        for waybill in {(upload["carrier"], upload["waybill_no"]) for upload in uploads}:
            times: dict[str, datetime] = {}
            for upload in self.of_waybill["waybill_uploaded", waybill]:
                user = upload["order_id"]
                times[user] = min(at(upload), times.get(user, at(upload)))
            up = times[order.order_id]
            yield Shipment(
                order=order,
                carrier=waybill[0],
                waybill_no=waybill[1],
                up=up,
                scans=self.of_waybill["scan", self.scanned(waybill)],
                earlier_uses=[
                    (time, self.identity(user)) for user, time in times.items() if (time, user) < (up, order.order_id)
                ],
            )

    def scanned(self, waybill: Waybill) -> Waybill:
        """Follow the replacements: chains are followed, the latest counts, and a circle is left before it closes."""
        visited: set[Waybill] = set()
        while waybill not in visited:
            visited.add(waybill)
            replacements = [
                (at(fact), fact["new_carrier"], fact["new_waybill_no"])
                for fact in self.of_waybill["waybill_replaced", waybill]
            ]
            if not replacements:
                break
            _, new_carrier, new_waybill_no = max(replacements)
            if (new_carrier, new_waybill_no) in visited:
                break
            waybill = (new_carrier, new_waybill_no)
        return waybill


def earliest(times: Iterable[datetime]) -> datetime | None:
    """Return the smallest of the times, or None when there are none."""
    return min(times, default=None)


def by_time_and_content(fact: Mapping[str, Any]) -> tuple[datetime, str]:
    """Order facts by time, and at one time by what they say, never by when they arrived."""
    content = {key: value for key, value in fact.items() if key not in {"event_id", "received_at", "occurred_at"}}
    return at(fact), repr(sorted(content.items(), key=lambda item: item[0]))


# ------------------------------------------------------------------------------------------------ deadlines, exemptions


def named_in(exemption: Mapping[str, Any], rule: str) -> bool:
    """Return whether the exemption is for this rule."""
    return rule in exemption["rules"] or "*" in exemption["rules"]


def moved(order: Order, rule: str, deadline: datetime) -> datetime:
    """An exemption with `extended_to` moves the deadlines of its rules to that time, where that is later."""
    extensions = [moment(e["extended_to"]) for e in order.exemptions if named_in(e, rule) and e.get("extended_to")]
    return max([deadline, *extensions])


def missed(order: Order, rule: str, deadline: datetime, happened: datetime | None) -> datetime | None:
    """Return the deadline, as moved, if it has been missed.

    "Missed(D, X)" means: the deadline D has been missed by X, that is X happened after D, or has not happened and
    `as_of` > D; and the order was not cancelled at or before D.
    """
    due = moved(order, rule, deadline)
    too_late = happened > due if happened is not None else order.as_of > due
    cancelled_in_time = order.cancelled is not None and order.cancelled <= due
    return due if too_late and not cancelled_in_time else None


def status_of(order: Order, rule: str) -> str:
    """An exemption without `extended_to` makes the flags of its rules `exempt`."""
    exempt = any(named_in(exemption, rule) and not exemption.get("extended_to") for exemption in order.exemptions)
    return "exempt" if exempt else "open"


# ---------------------------------------------------------------------------------- the rules: violated at, or None


def pickup_before_payment(shipment: Shipment) -> datetime | None:
    """P < paid. Violated at: paid."""
    picked_up, paid = shipment.picked_up, shipment.order.paid
    return paid if picked_up is not None and paid is not None and picked_up < paid else None


def no_pickup_scan(shipment: Shipment) -> datetime | None:
    """Missed(up + 24 h, P). Violated at: the deadline."""
    return missed(shipment.order, "no_pickup_scan", shipment.up + DAY, shipment.picked_up)


def stalled_after_pickup(shipment: Shipment) -> datetime | None:
    """Missed(P + 24 h, U).

    U = the first scan later than P whose status is not `picked_up`, `info_received`, `cancelled`.
    Violated at: the deadline.
    """
    picked_up = shipment.picked_up
    if picked_up is None:
        return None
    moves = {scan["status"] for scan in shipment.scans} - NO_MOVEMENT
    return missed(shipment.order, "stalled_after_pickup", picked_up + DAY, shipment.first_after_pickup(moves))


def waybill_reused(shipment: Shipment) -> datetime | None:
    """Another order's upload of the same carrier and waybill came before (by time, then order id), at most 30 days (720 h) before, and had another recipient (name and phone) or another address.

    Violated at: up. What one of the two orders does not give cannot differ.
    """  # noqa: E501  the specification's sentence, uncut
    ours = shipment.order.identity
    for time, theirs in shipment.earlier_uses:
        given_by_both = [(a, b) for a, b in zip(ours, theirs, strict=True) if a is not None and b is not None]
        if shipment.up - time <= 720 * HOUR and any(a != b for a, b in given_by_both):
            return shipment.up
    return None


def where(scan: Mapping[str, Any]) -> Place | None:
    """Return the city that a scan was made in; its description tells where nothing better does."""
    return city_of({**(scan.get("location") or {}), "description": scan.get("description")})


def address_mismatch(shipment: Shipment) -> datetime | None:
    """The last scan that is `out_for_delivery`, `available_for_pickup` or `delivered` lies in another city than the delivery address.

    Last by time; at the same time `delivered` counts as last, then `available_for_pickup`. Abstains when either place
    cannot be resolved to a city, and when any scan is `returning`, `returned` or `forwarded`.
    Violated at: that scan's time.
    """  # noqa: E501  the specification's sentence, uncut
    drops = [scan for scan in shipment.scans if scan["status"] in DROP_RANK]
    if not drops or any(scan["status"] in TURNED_BACK for scan in shipment.scans):
        return None
    last = max(drops, key=lambda scan: (at(scan), DROP_RANK[scan["status"]], by_time_and_content(scan)))
    there, wanted = where(last), shipment.order.city
    return at(last) if there is not None and wanted is not None and differ(there, wanted) else None


def repeated_pickup(shipment: Shipment) -> datetime | None:
    """A pickup scan later than P + 24 h, or in another city than the first pickup scan that names one.

    Violated at: the earliest scan that completes it.
    """
    picked_up = shipment.picked_up
    if picked_up is None:
        return None
    named = [city for scan in shipment.pickups if (city := where(scan)) is not None]
    return earliest(
        at(scan)
        for scan in shipment.pickups
        if at(scan) > picked_up + DAY or ((city := where(scan)) is not None and differ(city, named[0]))
    )


def late_deadline(order: Order) -> datetime | None:
    """Return paid + `ship_within_hours` (default 48 h), moved by the exemptions from `late_shipment`."""
    return moved(order, "late_shipment", order.paid + order.ship_within) if order.paid is not None else None


def late_shipment(order: Order) -> datetime | None:
    """Missed(paid + `ship_within_hours`, first upload); default by platform, 48 h. Violated at: the deadline."""
    deadline = late_deadline(order)
    return missed(order, "late_shipment", deadline, order.first_upload) if deadline else None


def unable_to_ship(order: Order) -> datetime | None:
    """Missed(the late_shipment deadline + 48 h, first upload). Violated at: the deadline."""
    deadline = late_deadline(order)
    return missed(order, "unable_to_ship", deadline + 48 * HOUR, order.first_upload) if deadline else None


def pickup_overdue(shipment: Shipment) -> datetime | None:
    """Douyin: Missed(paid + 72 h, P). Violated at: the deadline."""
    paid = shipment.order.paid
    return missed(shipment.order, "pickup_overdue", paid + 72 * HOUR, shipment.picked_up) if paid else None


def first_hub_overdue(shipment: Shipment) -> datetime | None:
    """Douyin: Missed(P + 24 h, the first scan later than P that is `arrived_at_facility`, `departed_facility`, `out_for_delivery`, `available_for_pickup` or `delivered`).

    Violated at: the deadline.
    """  # noqa: E501  the specification's sentence, uncut
    picked_up = shipment.picked_up
    if picked_up is None:
        return None
    return missed(shipment.order, "first_hub_overdue", picked_up + DAY, shipment.first_after_pickup(HUB))


ORDER_RULES: Final = (late_shipment, unable_to_ship)
SHIPMENT_RULES: Final = (
    pickup_before_payment,
    no_pickup_scan,
    stalled_after_pickup,
    waybill_reused,
    address_mismatch,
    repeated_pickup,
)
DOUYIN_RULES: Final = (pickup_overdue, first_hub_overdue)
RULES: Final = tuple(rule.__name__ for rule in (*SHIPMENT_RULES, *ORDER_RULES, *DOUYIN_RULES))
"""All rule codes."""


def flags_of(order: Order, known: Known) -> Iterator[Flag]:
    """Ask every rule of the order's platform. Without a payment the platform is unknown: the default rules apply."""
    for about_order in ORDER_RULES:
        rule = about_order.__name__
        if violated_at := about_order(order):
            yield Flag(rule, order.order_id, None, None, violated_at, status_of(order, rule))
    for shipment in known.shipments(order):
        for about_shipment in SHIPMENT_RULES + (DOUYIN_RULES if order.platform == "douyin" else ()):
            rule = about_shipment.__name__
            if violated_at := about_shipment(shipment):
                yield Flag(
                    rule, order.order_id, shipment.carrier, shipment.waybill_no, violated_at, status_of(order, rule)
                )
