"""What simulated stories are made of: merchants, orders and parcels, how long things take, and which way parcels travel.

Times are microseconds since 1970 (UTC). A story is told to its end first, with everything that happens in it; `Story.cut` then
takes away what lies after the end of the stream.
"""

from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import accumulate, chain
from typing import Final, NamedTuple, TypeVar

import numpy as np

from pipeline.simulation.world import (
    CARRIERS,
    CITIES,
    ESTATES,
    FAMILY_NAMES,
    GIVEN_NAMES,
    ORIGINS,
    PHONE_PREFIXES,
    STREETS,
    Address,
    Carrier,
    City,
    Person,
)

SECOND: Final = 1_000_000
MINUTE: Final = 60 * SECOND
HOUR: Final = 60 * MINUTE
DAY: Final = 24 * HOUR

EARLIEST: Final = 48 * HOUR
"""Nothing in a story happens longer than this before its first order is paid, unless it is told later."""

_DEFAULT_SHIP_WITHIN_HOURS: Final = 48
_SHIP_WITHIN_HOURS: Final = {
    ("wechat_channels", "presale"): (360, 360),
    ("wechat_channels", "stock"): (48, 72),
    ("douyin", "tiered"): (120, 120),
    ("douyin", "special"): (360, 360),
}
"""By platform and category: the hours where nothing is promised, or too much, and the longest promise that counts."""

Item = TypeVar("Item")


class Dice:
    """Everything that is left to chance, from one seed. Made of uniform numbers and exact arithmetic: alike on every machine."""

    def __init__(self, seed: int) -> None:
        uniform = np.random.Generator(np.random.PCG64(seed))
        self.roll: Callable[[], float] = chain.from_iterable(
            uniform.random(8192).tolist() for _ in iter(int, 1)
        ).__next__

    def chance(self, share: float) -> bool:
        """Return True in this share of cases."""
        return self.roll() < share

    def between(self, low: int, high: int) -> int:
        """Return a whole number from `low` up to, not including, `high`."""
        return low + int(self.roll() * (high - low))

    def pick(self, items: Sequence[Item]) -> Item:
        """Return one of the items."""
        return items[int(self.roll() * len(items))]


class Merchant(NamedTuple):
    """A shop. `bad` ones break the rules often."""

    merchant_id: str
    platform: str
    city: City
    carriers: tuple[Carrier, ...]
    within_hours: int | None
    bad: bool


class Scan(NamedTuple):
    """One scan of a parcel; `heading` is where it goes next."""

    at: int
    status: str
    city: City
    facility: str
    heading: str


class Exemption(NamedTuple):
    """An exemption as granted at `at`: of one order; or, with a scope, of all orders that it names, for what is due in a period.

    `region` is a province in full.
    """

    at: int
    rules: tuple[str, ...]
    extended_to: int | None
    reason: str
    platform: str | None = None
    merchant_id: str | None = None
    region: str | None = None
    applies_from: int | None = None
    applies_until: int | None = None


@dataclass(slots=True, eq=False)
class Parcel:
    """A waybill and its scans; from `replaced_at` on, those of `replaced_by` count.

    `replaced_as` is a `transfer` or a `correction`; a transfer was made in `replaced_in`, or where the parcel was seen last.
    """

    carrier: Carrier
    number: str
    scans: list[Scan] = field(default_factory=list)
    replaced_at: int | None = None
    replaced_by: "Parcel | None" = None
    replaced_as: str = "transfer"
    replaced_in: City | None = None


@dataclass(slots=True, eq=False)
class Case:
    """An after-sales case, and when what happened in it; `sent_back` and `resent` say in which parcel."""

    aftersale_id: str
    kind: str
    opened: int
    answered: int | None = None
    answer: str = "agreed"
    sent_back: tuple[int, Parcel] | None = None
    received: int | None = None
    refunded: int | None = None
    resent: tuple[int, Parcel] | None = None
    closed: int | None = None

    def cut(self, end: int) -> None:
        """Take away what happens after `end`."""
        self.answered, self.received = _until(self.answered, end), _until(self.received, end)
        self.refunded, self.closed = _until(self.refunded, end), _until(self.closed, end)
        if self.sent_back is not None and self.sent_back[0] > end:
            self.sent_back = None
        if self.resent is not None and self.resent[0] > end:
            self.resent = None


def _until(at: int | None, end: int) -> int | None:
    return None if at is None or at > end else at


@dataclass(slots=True, eq=False)
class Order:
    """An order and what becomes of it. `told_at` is when the platform learns of it; None: as it happens."""

    order_id: str
    merchant: Merchant
    paid: int
    within_hours: int | None
    cents: int
    buyer: Person
    address: Address
    products: tuple[str, ...]
    category: str | None = None
    uploads: list[tuple[int, Parcel]] = field(default_factory=list)
    changes: list[tuple[int, Address]] = field(default_factory=list)
    exemptions: list[Exemption] = field(default_factory=list)
    cases: list[Case] = field(default_factory=list)
    cancelled_at: int | None = None
    told_at: int | None = None
    address_in_one_line: bool = False

    @property
    def due(self) -> int:
        """When it must have been shipped."""
        promised = self.within_hours
        hours, longest = _SHIP_WITHIN_HOURS.get(
            (self.merchant.platform, self.category or ""), (_DEFAULT_SHIP_WITHIN_HOURS, promised)
        )
        kept = promised is not None and longest is not None and promised <= longest
        return self.paid + (promised if promised is not None and kept else hours) * HOUR


@dataclass(slots=True, eq=False)
class Story:
    """Orders and parcels that have to do with each other, and with no others."""

    orders: list[Order] = field(default_factory=list)
    parcels: list[Parcel] = field(default_factory=list)

    def cut(self, end: int) -> None:
        """Take away what happens after `end`."""
        self.orders = [order for order in self.orders if order.paid <= end]
        for order in self.orders:
            order.uploads = [upload for upload in order.uploads if upload[0] <= end]
            order.changes = [change for change in order.changes if change[0] <= end]
            order.exemptions = [exemption for exemption in order.exemptions if exemption.at <= end]
            order.cases = [case for case in order.cases if case.opened <= end]
            for case in order.cases:
                case.cut(end)
            order.cancelled_at = _until(order.cancelled_at, end)
        for parcel in self.parcels:
            parcel.scans = [scan for scan in parcel.scans if scan.at <= end]
            if parcel.replaced_at is not None and parcel.replaced_at > end:
                parcel.replaced_at = parcel.replaced_by = None


class Way(NamedTuple):
    """How a parcel travels.

    Attributes:
        moved: When it leaves the branch that picked it up; by default some hours later.
        hub: When a facility scans it first, if that is later: at `moved` it is then only under way.
        to: Where it goes, instead of to the order's address.
        ending: `delivered`, `stalled` (after pickup), `handed_over` (at the first hub), `lost` or `returned`.
    """

    moved: int | None = None
    hub: int | None = None
    to: Address | None = None
    ending: str = "delivered"


STRAIGHT: Final = Way()


class Teller:
    """Invents merchants, orders and parcels. `story` holds those since `begin`.

    `closures` are the exemptions of many orders. While `sparing`, none of the orders invented is among these.
    """

    def __init__(self, seed: int, merchants: int) -> None:
        self.dice = Dice(seed)
        self._merchants = [self._merchant(number) for number in range(merchants)]
        # Zipf: the second sells half as much as the first, the third a third.
        self._sales = list(accumulate(1 / rank for rank in range(1, merchants + 1)))
        self._count = 0
        self.story = Story()
        self.closures: tuple[Exemption, ...] = ()
        self.sparing = False

    def close(self, begin: int) -> None:
        """Let two provinces be cut off for three days from `begin`, and a merchant's warehouse burn.

        The first, what is due then is excused; in the second, put off for a day after the roads are free; at the merchant,
        excused and reported by the platform. Known from the evening of the first day.
        """
        provinces = sorted({city.province for city in CITIES})
        flooded, snowed_in = self.dice.pick(provinces[::2]), self.dice.pick(provinces[1::2])
        shop = self._merchants[1 + int(self.dice.roll() * (len(self._merchants) - 1))]
        known, until = begin + 5 * HOUR, begin + 3 * DAY
        rules = ("late_shipment", "no_pickup_scan", "stalled_after_pickup", "pickup_overdue", "first_hub_overdue")
        self.closures = (
            Exemption(known, ("*",), None, "洪水断路", None, None, flooded, begin, until),
            Exemption(known, rules, until + DAY, "暴雪封路", None, None, snowed_in, begin, until),
            Exemption(known, rules[:2], None, "仓库火灾", shop.platform, shop.merchant_id, None, begin, until),
        )

    def closure_of(self, order: Order) -> Exemption | None:
        """Return what the order is caught by: one paid at the time, sold or delivered there."""
        for closure in self.closures:
            begin, until = closure.applies_from or 0, closure.applies_until or 0
            there = closure.merchant_id == order.merchant.merchant_id or closure.region == order.address.city.province
            if there and begin - DAY <= order.paid < until - DAY:
                return closure
        return None

    def _merchant(self, number: int) -> Merchant:
        dice = self.dice
        platform = ("wechat_channels", "douyin", "wechat_channels", "douyin", "wechat_channels", "kuaishou")[number % 6]
        first = dice.pick(CARRIERS)
        return Merchant(
            merchant_id=f"{platform[:2]}-shop-{number:04}",
            platform=platform,
            city=dice.pick(ORIGINS),
            carriers=(first, first, dice.pick(CARRIERS)),
            within_hours=dice.pick((None, None, None, 48, 24)),
            bad=number % 17 == 4,  # noqa: PLR2004  one in seventeen, one of them among the big ones
        )

    def begin(self) -> Story:
        """Begin a new story, with nothing in it."""
        self.story = Story()
        return self.story

    def merchant(self, platform: str | None = None) -> Merchant:
        """Return a merchant, the big ones oftener, of one platform or any."""
        while True:
            rank = bisect_right(self._sales, self.dice.roll() * self._sales[-1])
            merchant = self._merchants[min(rank, len(self._merchants) - 1)]
            hit = self.sparing and any(merchant.merchant_id == closure.merchant_id for closure in self.closures)
            if platform in {None, merchant.platform} and not hit:
                return merchant

    # --- what there is in a story

    def order(
        self, merchant: Merchant, paid: int, buyer: Person | None = None, address: Address | None = None
    ) -> Order:
        """Add an order to the story."""
        self._count += 1
        order = Order(
            order_id=f"{merchant.platform[0]}{_scrambled(self._count):013}",
            merchant=merchant,
            paid=paid,
            within_hours=merchant.within_hours,
            cents=self.dice.between(990, 30_000),
            buyer=buyer or self.person(),
            address=address or self.address(),
            products=self._products(merchant),
        )
        self.story.orders.append(order)
        return order

    def _products(self, merchant: Merchant) -> tuple[str, ...]:
        """Pick one product or two of the merchant's thirty, the first ones oftener."""
        numbers = {int(self.dice.roll() ** 2 * 30) for _ in range(2 if self.dice.chance(0.2) else 1)}
        return tuple(f"{merchant.merchant_id}-{number:02}" for number in sorted(numbers))

    def case(self, order: Order, kind: str, opened: int) -> Case:
        """Let the buyer of the order open a case."""
        self._count += 1
        case = Case(f"as{_scrambled(self._count):013}", kind, _second(opened))
        order.cases.append(case)
        return case

    def person(self) -> Person:
        """Invent somebody."""
        dice = self.dice
        phone = f"{dice.pick(PHONE_PREFIXES)}0000{dice.between(0, 10_000):04}"
        return Person(dice.pick(FAMILY_NAMES) + dice.pick(GIVEN_NAMES), phone)

    def address(self, city: City | None = None, elsewhere_than: City | None = None) -> Address:
        """Invent an address: in `city`, or anywhere but in one city, or anywhere."""
        dice = self.dice
        there = city or dice.pick(CITIES)
        cut_off = {closure.region for closure in self.closures} if self.sparing and city is None else set()
        while there is elsewhere_than or there.province in cut_off:
            there = dice.pick(CITIES)
        house, door = dice.between(1, 900), dice.between(101, 3300)
        return Address(there, dice.pick(there.districts), f"{dice.pick(STREETS)}{house}号{dice.pick(ESTATES)}{door}室")

    def parcel(self, merchant: Merchant) -> Parcel:
        """Add a parcel of one of the merchant's carriers to the story."""
        self._count += 1
        carrier = self.dice.pick(merchant.carriers)
        parcel = Parcel(carrier, f"{carrier.prefix}{_scrambled(self._count) % 10**carrier.digits:0{carrier.digits}}")
        self.story.parcels.append(parcel)
        return parcel

    # --- what happens in a story

    def upload_time(self, order: Order) -> int:
        """Return a time well before the order is due; sooner is likelier."""
        longest = min(order.due - order.paid, 40 * HOUR) - HOUR
        return _second(order.paid + 20 * MINUTE + int(self.dice.roll() ** 2 * (longest - 20 * MINUTE)))

    def upload(self, order: Order, at: int | None = None) -> tuple[int, Parcel]:
        """Let the merchant upload a new waybill; nothing becomes of it yet."""
        upload = (at or self.upload_time(order), self.parcel(order.merchant))
        order.uploads.append(upload)
        return upload

    def ship(self, order: Order, at: int | None = None, picked_up: int | None = None, way: Way = STRAIGHT) -> Parcel:
        """Upload a waybill and send the parcel on its way, picked up in time if not said otherwise."""
        uploaded, parcel = self.upload(order, at)
        self.travel(parcel, order, picked_up or uploaded + self.dice.between(HOUR, 14 * HOUR), way)
        return parcel

    def travel(self, parcel: Parcel, order: Order, picked_up: int, way: Way = STRAIGHT) -> None:
        """Give the parcel its scans."""
        _Journey(self.dice, parcel, order, picked_up, way).go()


Plan = Callable[[Teller, Order], None]
"""Tells one story around an order."""


def _second(at: int) -> int:
    return at // SECOND * SECOND


def _scrambled(number: int) -> int:
    """Spread numbers over 13 digits, each to its own; the last 11 digits alone differ too."""
    return (number * 2_654_435_761_123 + 987_654_321) % 10**13


class _Journey:
    """Takes a parcel from pickup to door, and writes its scans."""

    def __init__(self, dice: Dice, parcel: Parcel, order: Order, picked_up: int, way: Way) -> None:
        carrier = parcel.carrier
        self._dice = dice
        self._scans = parcel.scans
        self._at = picked_up
        self._way = way
        self._there = way.to or order.address
        self._from = order.merchant.city
        district = dice.pick(self._from.districts)
        self._branch_from = carrier.branch.format(_stem(district))
        self._hub_from = carrier.hub.format(self._from.short)
        self._hub_to = carrier.hub.format(self._there.city.short)
        self._branch_to = carrier.branch.format(_stem(self._there.district))

    def go(self) -> None:
        """Write the scans."""
        dice = self._dice
        if dice.chance(0.6):
            self._scan("info_received", self._from, self._branch_from, "", self._at - dice.between(10 * MINUTE, HOUR))
        self._scan("picked_up", self._from, self._branch_from, self._hub_from, self._at)
        if self._way.ending == "stalled":
            return
        self._leave()
        if self._way.ending == "handed_over":
            return
        if self._there.city is not self._from:
            self._cross_country()
        if self._way.ending == "lost":
            self._later(20, 40)
            self._scan("exception", self._there.city, self._hub_to, "")
            return
        self._later(2, 8)
        self._scan("arrived_at_facility", self._there.city, self._branch_to, "")
        self._hand_out()

    def _later(self, hours_min: int, hours_max: int) -> None:
        self._at = _second(self._at + self._dice.between(hours_min * HOUR, hours_max * HOUR))

    def _scan(self, status: str, city: City, facility: str, heading: str, at: int | None = None) -> None:
        self._scans.append(Scan(self._at if at is None else at, status, city, facility, heading))

    def _leave(self) -> None:
        """From the branch to the first hub."""
        if self._way.moved is not None:
            self._at = self._way.moved
        else:
            self._at = _second(self._at + self._dice.between(40 * MINUTE, 6 * HOUR))
        if self._way.hub is not None:
            self._scan("in_transit", self._from, self._branch_from, self._hub_from)
            self._at = self._way.hub
        self._scan("departed_facility", self._from, self._branch_from, self._hub_from)
        self._later(1, 4)
        self._scan("arrived_at_facility", self._from, self._hub_from, self._hub_to)

    def _cross_country(self) -> None:
        """From hub to hub."""
        self._later(1, 5)
        self._scan("departed_facility", self._from, self._hub_from, self._hub_to)
        if self._dice.chance(0.4):
            self._later(2, 8)
            self._scan("in_transit", self._from, self._hub_from, self._hub_to)
        self._later(8, 30)
        self._scan("arrived_at_facility", self._there.city, self._hub_to, self._branch_to)
        self._later(2, 6)
        self._scan("departed_facility", self._there.city, self._hub_to, self._branch_to)

    def _hand_out(self) -> None:
        """From the last branch to the door, or back."""
        dice, here = self._dice, (self._there.city, self._branch_to, "")
        self._later(1, 10)
        self._scan("out_for_delivery", *here)
        if self._way.ending == "returned" or dice.chance(0.05):
            self._later(2, 8)
            self._scan("delivery_failed", *here)
            self._later(10, 20)
            if self._way.ending == "returned":
                self._go_back()
                return
            self._scan("out_for_delivery", *here)
        if dice.chance(0.3):
            self._later(1, 4)
            self._scan("available_for_pickup", *here)
        self._later(1, 6)
        self._scan("delivered", *here)

    def _go_back(self) -> None:
        self._scan("returning", self._there.city, self._branch_to, self._hub_from)
        self._later(20, 60)
        self._scan("returned", self._from, self._branch_from, "")
        if self._dice.chance(0.5):
            self._later(1, 4)
            self._scan("delivered", self._from, self._branch_from, "")


def _stem(district: str) -> str:
    return district[:-1] if len(district) > 2 else district  # noqa: PLR2004  城区 stays 城区
