"""Which rules a story breaks: the ground truth that comes with a simulated stream.

Written from the rules' text for the few kinds of stories that are told, and sharing nothing with the detectors that it is to
check: all orders here are paid for, all places have a name, nobody contradicts themselves.
"""

from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

from pipeline.simulation.stories import DAY, HOUR, Order, Parcel, Scan, Story

_UNMOVED: Final = {"picked_up", "info_received"}
_AT_HUB: Final = {"arrived_at_facility", "departed_facility", "out_for_delivery", "available_for_pickup", "delivered"}
_BACK: Final = {"returning", "returned"}
_DROPS: Final = ("out_for_delivery", "available_for_pickup", "delivered")
_REUSE_WINDOW: Final = 720 * HOUR


class Label(NamedTuple):
    """A rule broken by an order (`carrier` and `waybill_no` are None) or by a shipment.

    Times are microseconds since 1970. The label stands once the clock is later than `visible_after`.
    """

    rule: str
    order_id: str
    carrier: str | None
    waybill_no: str | None
    violated_at: int
    status: str
    visible_after: int


def labels_of(story: Story) -> Iterator[Label]:
    """Say which rules are broken by what happens in the story (and not later)."""
    for order in story.orders:
        for rule, violated_at in _by_order(order):
            yield _label(order, rule, None, violated_at, violated_at)
        for uploaded, parcel in order.uploads:
            for rule, deadline in _missed_deadlines(order, uploaded, parcel.scanned):
                yield _label(order, rule, parcel, deadline, deadline)
            for rule, violated_at in _by_trace(order, parcel.scanned):
                yield _label(order, rule, parcel, violated_at, -1)
            if any(_used_for_another(order, uploaded, parcel, other) for other in story.orders):
                yield _label(order, "waybill_reused", parcel, uploaded, -1)


def _label(order: Order, rule: str, parcel: Parcel | None, violated_at: int, visible_after: int) -> Label:
    excused = any(_names(rules, rule) and to is None for _, rules, to, _ in order.exemptions)
    return Label(
        rule,
        order.order_id,
        parcel.carrier.code if parcel else None,
        parcel.number if parcel else None,
        violated_at,
        "exempt" if excused else "open",
        visible_after,
    )


def _names(rules: tuple[str, ...], rule: str) -> bool:
    return rule in rules or "*" in rules


def _moved(order: Order, rule: str, deadline: int) -> int:
    extensions = (to for _, rules, to, _ in order.exemptions if _names(rules, rule) and to is not None)
    return max((deadline, *extensions))


def _missed(order: Order, rule: str, deadline: int, happened: int | None) -> Iterator[tuple[str, int]]:
    """Give the rule and its deadline, as moved, if it passes or has passed without what had to happen."""
    due = _moved(order, rule, deadline)
    cancelled = order.cancelled_at is not None and order.cancelled_at <= due
    if not cancelled and (happened is None or happened > due):
        yield rule, due


def _by_order(order: Order) -> Iterator[tuple[str, int]]:
    first_upload = min((at for at, _ in order.uploads), default=None)
    yield from _missed(order, "late_shipment", order.due, first_upload)
    last_limit = _moved(order, "late_shipment", order.due) + 48 * HOUR
    yield from _missed(order, "unable_to_ship", last_limit, first_upload)


def _missed_deadlines(order: Order, uploaded: int, parcel: Parcel) -> Iterator[tuple[str, int]]:
    def first(wanted: Callable[[Scan], bool]) -> int | None:
        return min((scan.at for scan in parcel.scans if wanted(scan)), default=None)

    on_douyin = order.merchant.platform == "douyin"
    picked_up = first(lambda scan: scan.status == "picked_up")
    yield from _missed(order, "no_pickup_scan", uploaded + DAY, picked_up)
    if on_douyin:
        yield from _missed(order, "pickup_overdue", order.paid + 72 * HOUR, picked_up)
    if picked_up is None:
        return
    moved = first(lambda scan: scan.at > picked_up and scan.status not in _UNMOVED)
    yield from _missed(order, "stalled_after_pickup", picked_up + DAY, moved)
    if on_douyin:
        at_hub = first(lambda scan: scan.at > picked_up and scan.status in _AT_HUB)
        yield from _missed(order, "first_hub_overdue", picked_up + DAY, at_hub)


def _by_trace(order: Order, parcel: Parcel) -> Iterator[tuple[str, int]]:
    """Give the rules that are broken by something that happened, and when."""
    pickups = sorted((scan for scan in parcel.scans if scan.status == "picked_up"), key=lambda scan: scan.at)
    if pickups:
        first = pickups[0]
        if first.at < order.paid:
            yield "pickup_before_payment", order.paid
        again = [scan.at for scan in pickups if scan.at > first.at + DAY or scan.city is not first.city]
        if again:
            yield "repeated_pickup", again[0]
    drops = [scan for scan in parcel.scans if scan.status in _DROPS]
    if drops and not any(scan.status in _BACK for scan in parcel.scans):
        last = max(drops, key=lambda scan: (scan.at, _DROPS.index(scan.status)))
        address = order.changes[-1][1] if order.changes else order.address
        if last.city is not address.city:
            yield "address_mismatch", last.at


def _used_for_another(order: Order, uploaded: int, parcel: Parcel, other: Order) -> bool:
    """Return whether the number had been uploaded for the other order, of somebody else or to somewhere else."""
    same_receiver = (order.buyer, order.address) == (other.buyer, other.address)
    return not same_receiver and any(
        parcel is others
        and (before, other.order_id) < (uploaded, order.order_id)
        and uploaded - before <= _REUSE_WINDOW
        for before, others in other.uploads
    )
