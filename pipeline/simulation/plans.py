"""The stories that are told: ordinary ones, ones that end exactly on a limit, and ones that break a rule.

A plan tells one story around an order. It breaks what its name says, and whatever follows from that (a parcel picked up too late
may be overdue on its platform as well): `pipeline.simulation.labels` says which rules were broken in the end.
"""

from collections.abc import Callable
from functools import partial
from typing import Final

from pipeline.simulation.stories import (
    DAY,
    HOUR,
    MINUTE,
    SECOND,
    Exemption,
    Order,
    Parcel,
    Scan,
    Story,
    Teller,
    Way,
)
from pipeline.simulation.world import City

Plan = Callable[[Teller, Order], None]

_REUSE_WINDOW: Final = 720 * HOUR


def tell_story(teller: Teller, paid: int, plan: Plan | None = None) -> Story:
    """Tell the story of an order paid at `paid`, by `plan` or by one that suits its merchant."""
    story = teller.begin()
    merchant = teller.merchant("douyin" if plan in DOUYIN_PLANS else None)
    (plan or _any_plan(teller, bad=merchant.bad))(teller, teller.order(merchant, paid))
    return story


def _any_plan(teller: Teller, *, bad: bool) -> Plan:
    dice = teller.dice
    if dice.chance(0.3 if bad else 0.025):
        return dice.pick(BROKEN_PLANS)
    if dice.chance(0.1):
        return dice.pick(ODD_PLANS)
    return dice.pick(LIMIT_PLANS) if dice.chance(0.004) else ordinary


# ---------------------------------------------------------------------------------------------- plans that break no rule


def ordinary(tell: Teller, order: Order) -> None:
    """Shipped, picked up, delivered."""
    order.address_in_one_line = tell.dice.chance(0.03)
    tell.ship(order)


def two_parcels(tell: Teller, order: Order) -> None:
    """One order in two parcels."""
    tell.ship(order)
    tell.ship(order)


def one_parcel_for_two_orders(tell: Teller, order: Order) -> None:
    """One buyer's two orders in one parcel: the same number, but no other recipient."""
    other = tell.order(order.merchant, order.paid + tell.dice.between(MINUTE, 15 * MINUTE), order.buyer, order.address)
    uploaded = tell.upload_time(order)
    parcel = tell.ship(order, uploaded)
    other.uploads.append((max(uploaded, other.paid) + 20 * SECOND, parcel))


def cancelled_before_upload(tell: Teller, order: Order) -> None:
    """The buyer changes their mind at once."""
    order.cancelled_at = order.paid + tell.dice.between(10 * MINUTE, 20 * HOUR)


def cancelled_before_pickup(tell: Teller, order: Order) -> None:
    """The label was printed, the parcel never left."""
    uploaded, _ = tell.upload(order)
    order.cancelled_at = uploaded + tell.dice.between(10 * MINUTE, 20 * HOUR)


def returned(tell: Teller, order: Order) -> None:
    """Refused at the door and sent back: that it ends in another city is no mismatch."""
    tell.ship(order, way=Way(ending="returned"))


def readdressed(tell: Teller, order: Order) -> None:
    """The buyer moves the delivery to another city, and there it goes."""
    there = tell.address()
    uploaded = tell.upload_time(order)
    order.changes.append((uploaded + tell.dice.between(MINUTE, 50 * MINUTE), there))
    tell.ship(order, uploaded, way=Way(to=there))


def transferred(tell: Teller, order: Order) -> None:
    """Handed over to another carrier in the sender's province: the new number's scans count."""
    uploaded = tell.upload_time(order)
    first = tell.ship(order, uploaded, uploaded + tell.dice.between(HOUR, 3 * HOUR), way=Way(ending="handed_over"))
    first.replaced_at = first.scans[-1].at + tell.dice.between(10 * MINUTE, 2 * HOUR)
    first.replaced_by = tell.parcel(order.merchant)
    tell.travel(first.replaced_by, order, first.replaced_at + tell.dice.between(10 * MINUTE, HOUR))


def corrected(tell: Teller, order: Order) -> None:
    """A mistyped number, put right."""
    uploaded, wrong = tell.upload(order)
    wrong.replaced_at = uploaded + tell.dice.between(10 * MINUTE, 10 * HOUR)
    wrong.replaced_by = tell.parcel(order.merchant)
    tell.travel(wrong.replaced_by, order, uploaded + tell.dice.between(HOUR, 14 * HOUR))


def scanned_twice(tell: Teller, order: Order) -> None:
    """Picked up by the courier, scanned as picked up again at the branch: routine."""
    parcel = tell.ship(order)
    _pick_up_again(parcel, tell.dice.between(MINUTE, 20 * HOUR))


def lost(tell: Teller, order: Order) -> None:
    """Never delivered, which is sad but no false shipping."""
    tell.ship(order, way=Way(ending="lost"))


def extended_in_time(tell: Teller, order: Order) -> None:
    """Shipped after the deadline, within its extension."""
    _extend(order, order.due + 30 * HOUR)
    uploaded = order.due + tell.dice.between(HOUR, 10 * HOUR)
    tell.ship(order, uploaded, uploaded + tell.dice.between(HOUR, 10 * HOUR))


def misrouted(tell: Teller, order: Order) -> None:
    """Taken round the wrong city first, then delivered in the right one."""
    parcel = tell.ship(order)
    before = parcel.scans[-1].at - 10 * HOUR
    wrong = tell.address(elsewhere_than=order.address.city)
    parcel.scans.append(Scan(before, "out_for_delivery", wrong.city, parcel.scans[-1].facility, ""))


# -------------------------------------------------------------------------------------------------- plans that break one


def picked_up_before_payment(tell: Teller, order: Order) -> None:
    """An empty parcel that was under way before anybody had bought anything."""
    tell.ship(order, picked_up=order.paid - tell.dice.between(HOUR, 40 * HOUR))


def never_picked_up(tell: Teller, order: Order) -> None:
    """A number, and no parcel."""
    tell.upload(order)


def picked_up_late(tell: Teller, order: Order) -> None:
    """A number, and a parcel more than a day later."""
    uploaded = tell.upload_time(order)
    tell.ship(order, uploaded, uploaded + 24 * HOUR + tell.dice.between(MINUTE, 30 * HOUR))


def never_moved(tell: Teller, order: Order) -> None:
    """Picked up, and nothing after."""
    tell.ship(order, way=Way(ending="stalled"))


def moved_late(tell: Teller, order: Order) -> None:
    """Picked up, and left lying."""
    uploaded = tell.upload_time(order)
    picked_up = uploaded + tell.dice.between(HOUR, 14 * HOUR)
    tell.ship(order, uploaded, picked_up, way=Way(moved=picked_up + 24 * HOUR + tell.dice.between(MINUTE, 40 * HOUR)))


def reused_at_once(tell: Teller, order: Order) -> None:
    """One number for two buyers."""
    uploaded, parcel = tell.upload(order)
    other = tell.order(order.merchant, order.paid + tell.dice.between(MINUTE, 15 * MINUTE))
    other.uploads.append((uploaded + tell.dice.between(SECOND, HOUR), parcel))
    tell.travel(parcel, order, uploaded + tell.dice.between(HOUR, 14 * HOUR))


def reused_afterwards(tell: Teller, order: Order) -> None:
    """The number of a parcel long delivered, for another order."""
    parcel = tell.ship(order)
    other = tell.order(order.merchant, parcel.scans[-1].at + tell.dice.between(HOUR, 5 * DAY))
    other.uploads.append((other.paid + tell.dice.between(HOUR, 20 * HOUR), parcel))


def delivered_elsewhere(tell: Teller, order: Order) -> None:
    """A parcel to somebody else, so that the number has a story."""
    tell.ship(order, way=Way(to=tell.address(elsewhere_than=order.address.city)))


def picked_up_again_later(tell: Teller, order: Order) -> None:
    """Picked up once more days later."""
    _pick_up_again(tell.ship(order), 24 * HOUR + tell.dice.between(MINUTE, 60 * HOUR))


def picked_up_again_elsewhere(tell: Teller, order: Order) -> None:
    """Picked up in two cities within hours."""
    elsewhere = tell.address(elsewhere_than=order.merchant.city).city
    _pick_up_again(tell.ship(order), tell.dice.between(MINUTE, 10 * HOUR), elsewhere)


def shipped_late(tell: Teller, order: Order) -> None:
    """Shipped after the deadline."""
    tell.ship(order, order.due + tell.dice.between(MINUTE, 40 * HOUR))


def shipped_very_late(tell: Teller, order: Order) -> None:
    """Shipped when the order already counted as impossible to ship."""
    tell.ship(order, order.due + 48 * HOUR + tell.dice.between(MINUTE, 20 * HOUR))


def never_shipped(tell: Teller, order: Order) -> None:
    """Nothing; sometimes the buyer gives up."""
    if tell.dice.chance(0.5):
        order.cancelled_at = order.due + tell.dice.between(HOUR, 90 * HOUR)


def picked_up_overdue(tell: Teller, order: Order) -> None:
    """Shipped in time by a long deadline, but picked up more than 72 hours after payment."""
    order.within_hours = 72
    uploaded = order.paid + tell.dice.between(60 * HOUR, 70 * HOUR)
    tell.ship(order, uploaded, order.paid + 72 * HOUR + tell.dice.between(MINUTE, 8 * HOUR))


def at_first_hub_late(tell: Teller, order: Order) -> None:
    """Said to be under way, but seen at no facility for more than a day."""
    uploaded = tell.upload_time(order)
    picked_up = uploaded + tell.dice.between(HOUR, 14 * HOUR)
    seen = picked_up + 24 * HOUR + tell.dice.between(MINUTE, 20 * HOUR)
    tell.ship(order, uploaded, picked_up, way=Way(moved=picked_up + HOUR, hub=seen))


def exempt_from_one_rule(tell: Teller, order: Order) -> None:
    """Snowed in: the missing pickup is excused."""
    uploaded, _ = tell.upload(order)
    order.exemptions.append(Exemption(uploaded + 30 * HOUR, ("no_pickup_scan", "pickup_overdue"), None, "暴雪停运"))


def exempt_from_all_rules(tell: Teller, order: Order) -> None:
    """Whatever happened to this late order is excused."""
    shipped_late(tell, order)
    order.exemptions.append(Exemption(order.due + HOUR, ("*",), None, "平台报备通过"))


def extended_too_little(tell: Teller, order: Order) -> None:
    """Late by the extended deadline too."""
    _extend(order, order.due + 12 * HOUR)
    tell.ship(order, order.due + 12 * HOUR + tell.dice.between(MINUTE, 20 * HOUR))


# ------------------------------------------------------------------------- plans on a limit, or a microsecond past it


def picked_up_at_payment(tell: Teller, order: Order, past: int) -> None:
    """Picked up in the very microsecond of payment, or the one before."""
    tell.ship(order, picked_up=order.paid - past)


def picked_up_at_limit(tell: Teller, order: Order, past: int) -> None:
    """Picked up 24 hours after upload."""
    uploaded = tell.upload_time(order)
    tell.ship(order, uploaded, uploaded + 24 * HOUR + past)


def moved_at_limit(tell: Teller, order: Order, past: int) -> None:
    """Moved 24 hours after pickup."""
    uploaded = tell.upload_time(order)
    tell.ship(order, uploaded, uploaded + HOUR, way=Way(moved=uploaded + 25 * HOUR + past))


def at_first_hub_at_limit(tell: Teller, order: Order, past: int) -> None:
    """At the first facility 24 hours after pickup."""
    uploaded = tell.upload_time(order)
    tell.ship(order, uploaded, uploaded + HOUR, way=Way(moved=uploaded + 2 * HOUR, hub=uploaded + 25 * HOUR + past))


def picked_up_again_at_limit(tell: Teller, order: Order, past: int) -> None:
    """Picked up again 24 hours later."""
    _pick_up_again(tell.ship(order), 24 * HOUR + past)


def shipped_at_limit(tell: Teller, order: Order, past: int) -> None:
    """Shipped when due."""
    tell.ship(order, order.due + past)


def shipped_at_last_limit(tell: Teller, order: Order, past: int) -> None:
    """Shipped 48 hours after it was due."""
    tell.ship(order, order.due + 48 * HOUR + past)


def picked_up_at_platform_limit(tell: Teller, order: Order, past: int) -> None:
    """Picked up 72 hours after payment."""
    order.within_hours = 72
    tell.ship(order, order.paid + 60 * HOUR, order.paid + 72 * HOUR + past)


def cancelled_at_limit(tell: Teller, order: Order, past: int) -> None:
    """Never picked up, and cancelled at the deadline for it."""
    uploaded, _ = tell.upload(order)
    order.cancelled_at = uploaded + 24 * HOUR + past


def reused_at_limit(tell: Teller, order: Order, past: int) -> None:
    """A number last used 30 days ago. The older order, cancelled before anything was picked up, is told of only now."""
    uploaded, parcel = tell.upload(order)
    older = tell.order(order.merchant, uploaded - _REUSE_WINDOW - HOUR, address=tell.address(order.address.city))
    older.uploads.append((uploaded - _REUSE_WINDOW - past, parcel))
    older.cancelled_at = older.paid + 5 * HOUR
    older.told_at = order.paid
    while older.buyer == order.buyer:
        older.buyer = tell.person()
    tell.travel(parcel, order, uploaded + tell.dice.between(HOUR, 14 * HOUR))


def handed_out_at_once(tell: Teller, order: Order, past: int) -> None:
    """Delivered at home and out for delivery elsewhere at one time, where `delivered` counts; or elsewhere a moment later."""
    parcel = tell.ship(order)
    last = parcel.scans[-1]
    elsewhere = tell.address(elsewhere_than=order.address.city).city
    parcel.scans.append(Scan(last.at + past, "out_for_delivery", elsewhere, last.facility, ""))


def _pick_up_again(parcel: Parcel, after: int, city: City | None = None) -> None:
    first = next(scan for scan in parcel.scans if scan.status == "picked_up")
    parcel.scans.append(first._replace(at=first.at + after, city=city or first.city))


def _extend(order: Order, to: int) -> None:
    rules = ("late_shipment", "pickup_overdue")
    order.exemptions.append(Exemption(order.paid + 10 * HOUR, rules, to, "买家同意延迟发货"))


ODD_PLANS: Final[tuple[Plan, ...]] = (
    two_parcels,
    two_parcels,
    one_parcel_for_two_orders,
    one_parcel_for_two_orders,
    cancelled_before_upload,
    cancelled_before_upload,
    cancelled_before_upload,
    cancelled_before_pickup,
    returned,
    returned,
    readdressed,
    transferred,
    corrected,
    scanned_twice,
    scanned_twice,
    lost,
    extended_in_time,
    misrouted,
)
"""Uncommon, and no rule broken. Plans that stand here twice are twice as frequent."""

BROKEN_PLANS: Final[tuple[Plan, ...]] = (
    picked_up_before_payment,
    never_picked_up,
    never_picked_up,
    never_picked_up,
    picked_up_late,
    picked_up_late,
    never_moved,
    never_moved,
    moved_late,
    reused_at_once,
    reused_afterwards,
    delivered_elsewhere,
    picked_up_again_later,
    picked_up_again_elsewhere,
    shipped_late,
    shipped_late,
    shipped_very_late,
    never_shipped,
    picked_up_overdue,
    at_first_hub_late,
    exempt_from_one_rule,
    exempt_from_all_rules,
    extended_too_little,
)
"""Each breaks a rule, if not several."""


_LIMITS: Final = (
    picked_up_at_payment,
    picked_up_at_limit,
    moved_at_limit,
    at_first_hub_at_limit,
    picked_up_again_at_limit,
    shipped_at_limit,
    shipped_at_last_limit,
    picked_up_at_platform_limit,
    cancelled_at_limit,
    reused_at_limit,
    handed_out_at_once,
)
LIMIT_PLANS: Final[tuple[Plan, ...]] = tuple(partial(limit, past=past) for limit in _LIMITS for past in (0, 1))
"""Each limit twice: exactly on it, and one microsecond past it."""

DOUYIN_PLANS: Final[frozenset[Plan]] = frozenset(
    plan
    for plan in (*BROKEN_PLANS, *LIMIT_PLANS)
    if (plan.func if isinstance(plan, partial) else plan)
    in (picked_up_overdue, at_first_hub_late, at_first_hub_at_limit, picked_up_at_platform_limit)
)
"""Plans that break a rule on Douyin alone."""

EVERY_PLAN: Final[tuple[Plan, ...]] = tuple(dict.fromkeys((*BROKEN_PLANS, *LIMIT_PLANS, *ODD_PLANS)))
"""Every plan once."""
