"""A second, naive reading of the rules, which judges the first.

`judge` takes the events as they are written (dicts, times as text) and says which flags there must be, one order at a
time, with nothing but the standard library and nothing of the project. It is meant to be read next to the specification
and docs/reference.md: every rule is one function under the sentence that it implements. Slow and plain on purpose; a few
thousand orders are fine. The rules about cases are in `oracle_cases`, what profiles say in `oracle_profiles`,
and `oracle_places` reads places.

Not judged here: whether an event is valid (give it valid ones), what a flag's evidence says, when it was detected, and how it
came and went. Where facts contradict each other at one microsecond and the rules leave open which counts (two different
payments of one order, say), the answer is one of those allowed, and the same in whatever order the facts come.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple

from tests.oracle_cases import ABOUT_CASE, CASE_RULES, Case, case_of
from tests.oracle_divisions import code_of, lies_within, region_code
from tests.oracle_facts import (
    Clock,
    Due,
    Fact,
    at,
    by_time_and_content,
    earliest,
    moment,
    moved,
    received_at,
    verdict,
)
from tests.oracle_places import Place, city_of, differ, plain
from tests.oracle_profiles import PLATFORMS, Platform, Terms

__all__ = ["RULES", "Flag", "judge", "moment", "received_at"]

Waybill = tuple[str, str]

ABOUT_ORDER: Final = {"order_paid", "waybill_uploaded", "order_cancelled", "address_changed", "exemption_granted"}
UPLOADS: Final = ("waybill_uploaded", "resend_shipped")
ABOUT_WAYBILL: Final = {*UPLOADS, "scan", "waybill_replaced"}

NO_MOVEMENT: Final = {"picked_up", "info_received", "cancelled"}
HUB: Final = {"arrived_at_facility", "departed_facility", "out_for_delivery", "available_for_pickup", "delivered"}
TURNED_BACK: Final = {"returning", "returned", "forwarded"}
DROP_RANK: Final = {"out_for_delivery": 0, "available_for_pickup": 1, "delivered": 2}


class Flag(NamedTuple):
    """A violation: of which rule, by what, since when. `status` is `open` or `exempt`, or `at_risk` for one to come.

    `carrier` and `waybill_no` are None for the rules about the order and about cases, `aftersale_id` for all but these.
    `violated_at` is in UTC.
    """

    rule: str
    order_id: str
    carrier: str | None
    waybill_no: str | None
    aftersale_id: str | None
    violated_at: datetime
    status: str


def judge(
    events: Iterable[Fact],
    as_of: datetime | None = None,
    platforms: Mapping[str, Platform] = PLATFORMS,
    warn_hours: float | None = None,
) -> set[Flag]:
    """Return the flags that stand at `as_of`, given what had been received by then.

    Args:
        events: Valid events, in any order, with any repetitions.
        as_of: The clock; by default the largest `received_at` (which is by default `occurred_at`).
        platforms: What the profiles say, by platform.
        warn_hours: With it, what will be missed within so many hours has a flag of status `at_risk`.
    """
    facts = list(events)
    if not facts:
        return set()
    now = as_of if as_of is not None else max(received_at(fact) for fact in facts)
    clock = Clock(now, None if warn_hours is None else timedelta(hours=warn_hours))
    known = Known([fact for fact in facts if received_at(fact) <= now], platforms)
    return {flag for order_id in known.order_ids for flag in flags_of(known.order(order_id), known, clock)}


# ---------------------------------------------------------------------------------------------------------------- facts


class Identity(NamedTuple):
    """Who an order goes to, and where; None for what is not given."""

    name: str | None
    phone: str | None
    address: str | None


@dataclass(frozen=True)
class Order:
    """What is known of one order, and what its platform says. `terms` are those of the payment; without one it has none."""

    order_id: str
    platform: Platform
    paid: datetime | None
    terms: Terms | None
    promised: float | None
    category: str | None
    first_upload: datetime | None
    cancelled: datetime | None
    exemptions: list[Fact]
    identity: Identity
    city: Place | None


@dataclass(frozen=True)
class Shipment:
    """One order's parcel: an uploaded waybill and the scans that count for it. `up` is the earliest such upload.

    `sent_again` says that the waybill was uploaded by `resend_shipped` alone.
    """

    order: Order
    carrier: str
    waybill_no: str
    up: datetime
    terms: Terms
    sent_again: bool
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

    def due(self, rule: str, start: datetime, happened: datetime | None) -> Due:
        """Return that something was due so long after `start`. Rules about shipments are lifted by `order_cancelled`."""
        return Due(start + self.terms.limit(rule), happened, self.order.cancelled)

    def first_after_pickup(self, statuses: set[str]) -> datetime | None:
        """Return the time of the first scan later than P with one of these statuses."""
        picked_up = self.picked_up
        if picked_up is None:
            return None
        return earliest(at(scan) for scan in self.scans if scan["status"] in statuses and at(scan) > picked_up)


class Known:
    """The facts known at `as_of`, looked up by order and by waybill."""

    def __init__(self, facts: list[Fact], platforms: Mapping[str, Platform]) -> None:
        self.platforms = platforms
        self.of_order: dict[tuple[str, str], list[Fact]] = defaultdict(list)
        self.of_waybill: dict[tuple[str, Waybill], list[Fact]] = defaultdict(list)
        self.of_case: dict[str, dict[str, list[Fact]]] = defaultdict(lambda: defaultdict(list))
        self.exemptions_of_many: list[Fact] = []
        self.order_ids: set[str] = set()
        for fact in facts:
            if fact["type"] in ABOUT_WAYBILL:
                self.of_waybill[fact["type"], (fact["carrier"], fact["waybill_no"])].append(fact)
            if fact["type"] in ABOUT_CASE:
                self.of_case[fact["order_id"]][fact["aftersale_id"]].append(fact)
            if fact["type"] == "exemption_granted" and not fact.get("order_id"):
                self.exemptions_of_many.append(fact)
            elif fact["type"] in ABOUT_ORDER | ABOUT_CASE:
                self.of_order[fact["type"], fact["order_id"]].append(fact)
                self.order_ids.add(fact["order_id"])

    def order(self, order_id: str) -> Order:
        """Of several `order_paid`, the earliest counts; of several cancellations too."""
        payments = sorted(self.of_order["order_paid", order_id], key=by_time_and_content)
        payment = payments[0] if payments else None
        paid = at(payment) if payment else None
        platform = self.platforms.get((payment or {}).get("platform", "default"), self.platforms["default"])
        return Order(
            order_id=order_id,
            platform=platform,
            paid=paid,
            terms=platform.terms(paid, paid) if paid else None,
            promised=(payment or {}).get("ship_within_hours"),
            category=(payment or {}).get("category"),
            first_upload=earliest(at(upload) for upload in self.of_order["waybill_uploaded", order_id]),
            cancelled=earliest(at(fact) for fact in self.of_order["order_cancelled", order_id]),
            exemptions=self.exemptions(order_id, payment or {}),
            identity=self.identity(order_id),
            city=city_of(self.address(order_id)),
        )

    def exemptions(self, order_id: str, payment: Fact) -> list[Fact]:
        """With `order_id`, of that order. Else of every order that all the given scopes name:

        sold on `platform`, by `merchant_id`, delivered within `region` (of the delivery address in force).
        """
        there = code_of(self.address(order_id))
        of_many = [
            exemption
            for exemption in self.exemptions_of_many
            if all(exemption.get(scope) in {None, payment.get(scope)} for scope in ("platform", "merchant_id"))
            and (not exemption.get("region") or lies_within(there, region_code(exemption["region"])))
        ]
        return self.of_order["exemption_granted", order_id] + of_many

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
        """Of several uploads of one waybill for one order, the earliest counts. `resend_shipped` uploads one too."""
        ordinary, resent = ({waybill_of(upload) for upload in self.of_order[kind, order.order_id]} for kind in UPLOADS)
        for waybill in ordinary | resent:
            times: dict[str, datetime] = {}
            for upload in (upload for kind in UPLOADS for upload in self.of_waybill[kind, waybill]):
                user = upload["order_id"]
                times[user] = min(at(upload), times.get(user, at(upload)))
            up = times[order.order_id]
            yield Shipment(
                order=order,
                carrier=waybill[0],
                waybill_no=waybill[1],
                up=up,
                terms=order.platform.terms(up, order.paid),
                sent_again=waybill not in ordinary,
                scans=self.of_waybill["scan", self.scanned(waybill, order.platform.transfers)],
                earlier_uses=[
                    (time, self.identity(user)) for user, time in times.items() if (time, user) < (up, order.order_id)
                ],
            )

    def cases(self, order: Order) -> Iterator[tuple[str, Case]]:
        """A case is one `aftersale_id` of one order."""
        for aftersale_id, facts in self.of_case[order.order_id].items():
            case = case_of(facts, order.platform, order.paid, order.exemptions)
            if case is not None:
                yield aftersale_id, case

    def scanned(self, waybill: Waybill, transfers: str) -> Waybill:
        """Follow the replacements: chains are followed, the latest counts, and a circle is left before it closes."""
        visited: set[Waybill] = set()
        while waybill not in visited:
            visited.add(waybill)
            replacements = [
                (at(fact), fact["new_carrier"], fact["new_waybill_no"])
                for fact in self.of_waybill["waybill_replaced", waybill]
                if transfers == "anywhere" or self.within_origin_province(fact)
            ]
            if not replacements:
                break
            _, new_carrier, new_waybill_no = max(replacements)
            if (new_carrier, new_waybill_no) in visited:
                break
            waybill = (new_carrier, new_waybill_no)
        return waybill

    def within_origin_province(self, replacement: Fact) -> bool:
        """A `waybill_replaced` counts only if the parcel changed hands in the province that it started from, unless its `kind` is `correction`.

        It started in the province of its earliest `picked_up` scan that names one (at one moment the smallest division
        code), else of its earliest scan of any status that names one. It changed hands at the replacement's `location`,
        else where the latest scan of the old waybill at or before the replacement that names a province was (at one
        moment the largest code). Where either is unknown, the replacement counts.
        """  # noqa: E501  the specification's sentence, uncut
        if replacement.get("kind") == "correction":
            return True
        places = [
            (at(scan), code, scan["status"])
            for scan in self.of_waybill["scan", waybill_of(replacement)]
            if (code := code_of(place_of(scan))) is not None
        ]
        pickups = [place for place in places if place[2] == "picked_up"]
        before = [place for place in places if place[0] <= at(replacement)]
        start = min(pickups or places)[1] if places else None
        change = code_of(replacement.get("location")) or (max(before)[1] if before else None)
        return start is None or change is None or start // 10_000 == change // 10_000


def waybill_of(fact: Fact) -> Waybill:
    """Return the waybill that the fact names."""
    return fact["carrier"], fact["waybill_no"]


# ------------------------------------------------------------- the rules: violated at, or what was due; None: neither


def pickup_before_payment(shipment: Shipment) -> datetime | None:
    """P < paid. Violated at: paid."""
    picked_up, paid = shipment.picked_up, shipment.order.paid
    return paid if picked_up is not None and paid is not None and picked_up < paid else None


def no_pickup_scan(shipment: Shipment) -> Due:
    """Missed(up + 24 h, P). Violated at: the deadline."""
    return shipment.due("no_pickup_scan", shipment.up, shipment.picked_up)


def stalled_after_pickup(shipment: Shipment) -> Due | None:
    """Missed(P + 24 h, U).

    U = the first scan later than P whose status is not `picked_up`, `info_received`, `cancelled`.
    Violated at: the deadline.
    """
    picked_up = shipment.picked_up
    if picked_up is None:
        return None
    moves = {scan["status"] for scan in shipment.scans} - NO_MOVEMENT
    return shipment.due("stalled_after_pickup", picked_up, shipment.first_after_pickup(moves))


def waybill_reused(shipment: Shipment) -> datetime | None:
    """Another order's upload of the same carrier and waybill came before (by time, then order id), at most 30 days (720 h) before, and had another recipient (name and phone) or another address.

    Violated at: up. What one of the two orders does not give cannot differ.
    """  # noqa: E501  the specification's sentence, uncut
    ours = shipment.order.identity
    for time, theirs in shipment.earlier_uses:
        given_by_both = [(a, b) for a, b in zip(ours, theirs, strict=True) if a is not None and b is not None]
        if shipment.up - time <= shipment.terms.limit("waybill_reused") and any(a != b for a, b in given_by_both):
            return shipment.up
    return None


def place_of(scan: Fact) -> Fact:
    """Return what a scan says of where it was made; its description tells where nothing better does."""
    return {**(scan.get("location") or {}), "description": scan.get("description")}


def where(scan: Fact) -> Place | None:
    """Return the city that a scan was made in."""
    return city_of(place_of(scan))


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
        if at(scan) > picked_up + shipment.terms.limit("repeated_pickup")
        or ((city := where(scan)) is not None and differ(city, named[0]))
    )


def late_deadline(order: Order) -> datetime | None:
    """Return by when the order must be shipped, before any extension; None without a payment."""
    if order.paid is None or order.terms is None:
        return None
    return order.paid + order.terms.ship_within(order.promised, order.category)


def late_shipment(order: Order) -> Due | None:
    """Missed(paid + `ship_within_hours`, first upload); default by platform, 48 h. Violated at: the deadline."""
    deadline = late_deadline(order)
    return Due(deadline, order.first_upload, order.cancelled) if deadline else None


def unable_to_ship(order: Order) -> Due | None:
    """Missed(the late_shipment deadline + 48 h, first upload). Violated at: the deadline."""
    deadline = late_deadline(order)
    if deadline is None or order.terms is None:
        return None
    start = moved(order.exemptions, "late_shipment", deadline)
    return Due(start + order.terms.limit("unable_to_ship"), order.first_upload, order.cancelled)


def pickup_overdue(shipment: Shipment) -> Due | None:
    """Douyin: Missed(paid + 72 h, P), of ordinary shipping and of what was not sent again. Violated at: the deadline."""
    paid = shipment.order.paid
    of_category = (shipment.order.category or "") in shipment.terms.categories
    asked = paid is not None and not shipment.sent_again and not of_category
    return shipment.due("pickup_overdue", paid, shipment.picked_up) if asked else None


def first_hub_overdue(shipment: Shipment) -> Due | None:
    """Douyin: Missed(P + 24 h, the first scan later than P that is `arrived_at_facility`, `departed_facility`, `out_for_delivery`, `available_for_pickup` or `delivered`).

    Violated at: the deadline.
    """  # noqa: E501  the specification's sentence, uncut
    picked_up = shipment.picked_up
    if picked_up is None:
        return None
    return shipment.due("first_hub_overdue", picked_up, shipment.first_after_pickup(HUB))


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
RULES: Final = tuple(rule.__name__ for rule in (*SHIPMENT_RULES, *ORDER_RULES, *DOUYIN_RULES, *CASE_RULES))
"""All rule codes."""


def flags_of(order: Order, known: Known, clock: Clock) -> Iterator[Flag]:
    """Ask every rule of the order's platform. Without a payment the platform is unknown: the default rules apply.

    Orders of an excluded category are not judged at all: neither they nor their shipments and cases.
    """
    if order.category in order.platform.excluded:
        return
    for (rule, *about), outcome in outcomes(order, known):
        if given := verdict(rule, outcome, order.exemptions, clock):
            yield Flag(rule, order.order_id, *about, *given)


Asked = tuple[tuple[str, str | None, str | None, str | None], Due | datetime | None]


def outcomes(order: Order, known: Known) -> Iterator[Asked]:
    """Return for the order, and each of its shipments and cases, what every rule says that is judged there."""
    for about_order in ORDER_RULES:
        if order.terms and order.terms.on(about_order.__name__):
            yield (about_order.__name__, None, None, None), about_order(order)
    for shipment in known.shipments(order):
        for about_shipment in SHIPMENT_RULES + DOUYIN_RULES:
            if shipment.terms.on(about_shipment.__name__):
                subject = (shipment.carrier, shipment.waybill_no, None)
                yield (about_shipment.__name__, *subject), about_shipment(shipment)
    for aftersale_id, case in known.cases(order):
        for about_case in CASE_RULES:
            if case.terms.on(about_case.__name__):
                yield (about_case.__name__, None, None, aftersale_id), about_case(case)
