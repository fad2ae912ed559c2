"""The stories that are told: ordinary ones, ones that end exactly on a limit, and ones that break a rule.

A plan tells one story around an order. It breaks what its name says, and whatever follows from that (a parcel picked up too late
may be overdue on its platform as well): `pipeline.simulation.labels` says which rules were broken in the end.
"""

from functools import partial
from typing import Final

from pipeline.simulation import case_plans
from pipeline.simulation.stories import (
    DAY,
    HOUR,
    MINUTE,
    SECOND,
    Exemption,
    Merchant,
    Order,
    Parcel,
    Plan,
    Scan,
    Story,
    Teller,
    Way,
)
from pipeline.simulation.world import CITIES, City

_REUSE_WINDOW: Final = 720 * HOUR


def tell_story(teller: Teller, paid: int, plan: Plan | None = None) -> Story:
    """Tell the story of an order paid at `paid`, by `plan` or by one that suits its merchant."""
    story = teller.begin()
    # What is planned is to break what its name says: no exemption of many orders may excuse it.
    teller.sparing = plan is not None
    merchant = teller.merchant(PLATFORM_OF.get(plan) if plan else None)
    order = teller.order(merchant, paid)
    if plan is None and (closure := teller.closure_of(order)) is not None:
        held_up(teller, order, closure)
    else:
        (plan or _any_plan(teller, merchant))(teller, order)
    return story


def _any_plan(teller: Teller, merchant: Merchant) -> Plan:
    dice = teller.dice
    mood = dice.roll()
    broken = 0.3 if merchant.bad else 0.025
    if mood > broken + 0.104:
        return ordinary
    plans = BROKEN_PLANS if mood < broken else ODD_PLANS if mood < broken + 0.1 else LIMIT_PLANS
    while PLATFORM_OF.get(plan := dice.pick(plans), merchant.platform) != merchant.platform:
        pass
    return plan


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
    first.replaced_in = order.merchant.city if tell.dice.chance(0.5) else None
    tell.travel(first.replaced_by, order, first.replaced_at + tell.dice.between(10 * MINUTE, HOUR))


def corrected(tell: Teller, order: Order) -> None:
    """A mistyped number, put right."""
    uploaded, wrong = tell.upload(order)
    wrong.replaced_at = uploaded + tell.dice.between(10 * MINUTE, 10 * HOUR)
    wrong.replaced_by, wrong.replaced_as = tell.parcel(order.merchant), "correction"
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


def sold_in_advance(tell: Teller, order: Order) -> None:
    """A presale: shipped days later, as promised."""
    order.category, order.within_hours = "presale", 24 * tell.dice.between(4, 16)
    tell.ship(order, order.due - tell.dice.between(HOUR, 60 * HOUR))


def shipped_by_tier(tell: Teller, order: Order) -> None:
    """One of those that may take five days, or fifteen: shipped after two."""
    order.category, order.within_hours = tell.dice.pick(("tiered", "special")), None
    uploaded = order.paid + tell.dice.between(49 * HOUR, 60 * HOUR)
    tell.ship(order, uploaded, uploaded + tell.dice.between(HOUR, 11 * HOUR))


def made_to_order(tell: Teller, order: Order) -> None:
    """Nothing that these rules are about: it comes when it is done, by a number that was there long before."""
    order.category = tell.dice.pick(("custom_made", "bulky", "preorder", "second_hand"))
    uploaded = order.due + tell.dice.between(HOUR, 60 * HOUR)
    tell.ship(order, uploaded, uploaded + tell.dice.between(20 * HOUR, 60 * HOUR))


def held_up(tell: Teller, order: Order, closure: Exemption) -> None:
    """Caught by what many orders are exempt from: picked up, or shipped at all, only when it is over."""
    over = (closure.applies_until or order.paid) + tell.dice.between(HOUR, 20 * HOUR)
    if closure.region is None:
        tell.ship(order, over)
    else:
        tell.ship(order, picked_up=over)


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


def promised_too_long(tell: Teller, order: Order) -> None:
    """Goods in stock may be promised for three days at most; who promises more has two."""
    order.category, order.within_hours = "stock", tell.dice.pick((73, 96, 120))
    tell.ship(order, order.due + tell.dice.between(MINUTE, 20 * HOUR))


def transferred_elsewhere(tell: Teller, order: Order) -> None:
    """A number that goes nowhere, said to have been handed over at the other end of the country: that does not count."""
    uploaded = tell.upload_time(order)
    first = tell.ship(order, uploaded, uploaded + tell.dice.between(HOUR, 3 * HOUR), way=Way(ending="stalled"))
    first.replaced_at = uploaded + tell.dice.between(4 * HOUR, 20 * HOUR)
    first.replaced_by, first.replaced_in = tell.parcel(order.merchant), _another_province(tell, order.merchant.city)
    tell.travel(first.replaced_by, order, first.replaced_at + tell.dice.between(10 * MINUTE, HOUR))


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


def shipped_as_promised_at_limit(tell: Teller, order: Order, past: int) -> None:
    """A presale shipped on its last day."""
    order.category, order.within_hours = "presale", 96
    tell.ship(order, order.due + past)


def shipped_by_tier_at_limit(tell: Teller, order: Order, past: int) -> None:
    """Shipped after five days, as its category may."""
    order.category, order.within_hours = "tiered", None
    tell.ship(order, order.paid + 120 * HOUR + past)


def longest_promise(tell: Teller, order: Order, past: int) -> None:
    """Shipped after three days, the longest promise for goods in stock."""
    order.category, order.within_hours = "stock", 72
    tell.ship(order, order.paid + 72 * HOUR + past)


def seen_elsewhere_at_limit(tell: Teller, order: Order, past: int) -> None:
    """Seen in another province when it was handed over, or just after: then the other number counts, never picked up in time."""
    uploaded = tell.upload_time(order)
    first = tell.ship(order, uploaded, uploaded + HOUR, way=Way(ending="stalled"))
    first.replaced_at, first.replaced_by = uploaded + 10 * HOUR, tell.parcel(order.merchant)
    there = _another_province(tell, order.merchant.city)
    first.scans.append(Scan(first.replaced_at + past, "exception", there, first.scans[-1].facility, ""))
    tell.travel(first.replaced_by, order, uploaded + 30 * HOUR)


def due_when_the_flood_ends(tell: Teller, order: Order, past: int) -> None:
    """Never picked up, in a province that was cut off until this was due."""
    until = _cut_off(tell, order, tell.closures[0])
    tell.upload(order, until - 24 * HOUR + past)


def picked_up_after_the_snow(tell: Teller, order: Order, past: int) -> None:
    """Due while a province was snowed in, and picked up when the time that it was given was over."""
    snow = tell.closures[1]
    until = _cut_off(tell, order, snow)
    tell.ship(order, until - 25 * HOUR, (snow.extended_to or until) + past)


def _cut_off(tell: Teller, order: Order, closure: Exemption) -> int:
    """Let the order be paid shortly before the roads are free again, and go there; returns when they are."""
    until = closure.applies_until or order.paid
    order.address = tell.address(tell.dice.pick([city for city in CITIES if city.province == closure.region]))
    order.paid, order.within_hours = until - 30 * HOUR, None
    return until


def _another_province(tell: Teller, than: City) -> City:
    return tell.dice.pick([city for city in CITIES if city.province != than.province])


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
    sold_in_advance,
    shipped_by_tier,
    made_to_order,
    *case_plans.ODD,
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
    promised_too_long,
    transferred_elsewhere,
    *case_plans.BROKEN,
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
    shipped_as_promised_at_limit,
    shipped_by_tier_at_limit,
    longest_promise,
    seen_elsewhere_at_limit,
)
LIMIT_PLANS: Final[tuple[Plan, ...]] = (
    *(partial(limit, past=past) for limit in _LIMITS for past in (0, 1)),
    *case_plans.LIMITS,
)
"""Each limit twice: exactly on it, and one microsecond past it."""

CLOSURE_PLANS: Final[tuple[Plan, ...]] = tuple(
    partial(limit, past=past) for limit in (due_when_the_flood_ends, picked_up_after_the_snow) for past in (0, 1)
)
"""The same for the ends of exemptions of many orders: at a time of their own, so nothing that any order may come to."""

_ONLY_ON: Final = {
    "douyin": (
        picked_up_overdue,
        at_first_hub_late,
        at_first_hub_at_limit,
        picked_up_at_platform_limit,
        shipped_by_tier,
        shipped_by_tier_at_limit,
        *case_plans.BROKEN_ON_DOUYIN,
        *case_plans.LIMITS,
    ),
    "wechat_channels": (
        sold_in_advance,
        made_to_order,
        promised_too_long,
        transferred_elsewhere,
        shipped_as_promised_at_limit,
        longest_promise,
        seen_elsewhere_at_limit,
    ),
}
PLATFORM_OF: Final[dict[Plan, str]] = {
    plan: platform
    for platform, only in _ONLY_ON.items()
    for plan in (*BROKEN_PLANS, *LIMIT_PLANS, *ODD_PLANS)
    if plan in only or (isinstance(plan, partial) and plan.func in only)
}
"""Plans that are of one platform alone: what they are about is not judged elsewhere, or otherwise."""

EVERY_PLAN: Final[tuple[Plan, ...]] = tuple(
    dict.fromkeys((*case_plans.LONG, reused_afterwards, *CLOSURE_PLANS, *LIMIT_PLANS[::-1], *BROKEN_PLANS, *ODD_PLANS))
)
"""Every plan once; first those that take longest until it shows what they are."""
