"""Which rules a story breaks: the ground truth that comes with a simulated stream.

Written from the rules' text for the few kinds of stories that are told, and sharing nothing with the detectors that it is to
check: all orders here are paid for, all places have a name, nobody contradicts themselves.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Final, NamedTuple

from pipeline.simulation.stories import DAY, HOUR, Case, Exemption, Order, Parcel, Scan, Story

_UNMOVED: Final = {"picked_up", "info_received"}
_AT_HUB: Final = {"arrived_at_facility", "departed_facility", "out_for_delivery", "available_for_pickup", "delivered"}
_BACK: Final = {"returning", "returned"}
_DROPS: Final = ("out_for_delivery", "available_for_pickup", "delivered")
_REUSE_WINDOW: Final = 720 * HOUR
_OWN_TIMES: Final = {"tiered", "special"}
"""Categories on Douyin to which the 72 hours until the pickup do not apply."""
_NOT_JUDGED: Final = {("wechat_channels", category) for category in ("custom_made", "bulky", "preorder", "second_hand")}


class Label(NamedTuple):
    """A rule broken by an order (`carrier`, `waybill_no` and `aftersale_id` are None), by a shipment, or in a case.

    Times are microseconds since 1970. The label stands once the clock is later than `visible_after`.
    """

    rule: str
    order_id: str
    carrier: str | None
    waybill_no: str | None
    aftersale_id: str | None
    violated_at: int
    status: str
    visible_after: int


class _Missed(NamedTuple):
    """A deadline that passes, or has passed, without what had to happen: `due` before any extension, `at` after it."""

    rule: str
    due: int
    at: int


def labels_of(story: Story, closures: Iterable[Exemption] = ()) -> Iterator[Label]:
    """Say which rules are broken by what happens in the story (and not later), with these exemptions of many orders."""
    for order in story.orders:
        if (order.merchant.platform, order.category) not in _NOT_JUDGED:
            exemptions = [*order.exemptions, *(closure for closure in closures if _covers(closure, order))]
            yield from _Judge(order, exemptions, story).labels()


def _covers(closure: Exemption, order: Order) -> bool:
    """Return whether the exemption is of this order too: sold there, by them, and delivered there."""
    where = (order.changes[-1][1] if order.changes else order.address).city.province
    given = ((closure.platform, order.merchant.platform), (closure.merchant_id, order.merchant.merchant_id))
    return all(scope in {None, own} for scope, own in (*given, (closure.region, where)))


def _names(exemption: Exemption, rule: str, when: int) -> bool:
    """Return whether the exemption is from this rule, for what was due or violated at `when`."""
    after = exemption.applies_from is None or exemption.applies_from <= when
    before = exemption.applies_until is None or when <= exemption.applies_until
    return after and before and (rule in exemption.rules or "*" in exemption.rules)


class _Judge:
    """Asks every rule about one order, with what it is exempt from."""

    def __init__(self, order: Order, exemptions: list[Exemption], story: Story) -> None:
        self._order = order
        self._exemptions = exemptions
        self._story = story
        self._on_douyin = order.merchant.platform == "douyin"

    def labels(self) -> Iterator[Label]:
        order = self._order
        for missed in self._by_order():
            yield self._label(missed)
        resent = [(*case.resent, True) for case in order.cases if case.resent is not None]
        for uploaded, parcel, again in [(*upload, False) for upload in order.uploads] + resent:
            scanned = _scanned(parcel, order.merchant.platform)
            for missed in self._by_time(uploaded, scanned, again=again):
                yield self._label(missed, parcel)
            for rule, violated_at in self._by_trace(scanned):
                yield self._label(_Missed(rule, violated_at, violated_at), parcel)._replace(visible_after=-1)
            if any(_used_for_another(order, uploaded, parcel, other) for other in self._story.orders):
                yield self._label(_Missed("waybill_reused", uploaded, uploaded), parcel)._replace(visible_after=-1)
        for case in order.cases if self._on_douyin else ():
            for missed in self._by_case(case):
                yield self._label(missed, case=case)

    def _label(self, missed: _Missed, parcel: Parcel | None = None, case: Case | None = None) -> Label:
        excused = any(_names(e, missed.rule, missed.due) and e.extended_to is None for e in self._exemptions)
        return Label(
            missed.rule,
            self._order.order_id,
            parcel.carrier.code if parcel else None,
            parcel.number if parcel else None,
            case.aftersale_id if case else None,
            missed.at,
            "exempt" if excused else "open",
            missed.at,
        )

    # --- deadlines

    def _moved(self, rule: str, due: int) -> int:
        extensions = (e.extended_to for e in self._exemptions if _names(e, rule, due) and e.extended_to is not None)
        return max((due, *extensions))

    def _missed(self, rule: str, due: int, happened: int | None, lifted: int | None) -> Iterator[_Missed]:
        deadline = self._moved(rule, due)
        off = lifted is not None and lifted <= deadline
        if not off and (happened is None or happened > deadline):
            yield _Missed(rule, due, deadline)

    def _by_order(self) -> Iterator[_Missed]:
        order = self._order
        first_upload = min((at for at, _ in order.uploads), default=None)
        yield from self._missed("late_shipment", order.due, first_upload, order.cancelled_at)
        last_limit = self._moved("late_shipment", order.due) + 48 * HOUR
        yield from self._missed("unable_to_ship", last_limit, first_upload, order.cancelled_at)

    def _by_time(self, uploaded: int, parcel: Parcel, *, again: bool) -> Iterator[_Missed]:
        def first(wanted: Callable[[Scan], bool]) -> int | None:
            return min((scan.at for scan in parcel.scans if wanted(scan)), default=None)

        def missed(rule: str, due: int, happened: int | None) -> Iterator[_Missed]:
            return self._missed(rule, due, happened, self._order.cancelled_at)

        picked_up = first(lambda scan: scan.status == "picked_up")
        yield from missed("no_pickup_scan", uploaded + DAY, picked_up)
        if self._on_douyin and not again and self._order.category not in _OWN_TIMES:
            yield from missed("pickup_overdue", self._order.paid + 72 * HOUR, picked_up)
        if picked_up is None:
            return
        moved = first(lambda scan: scan.at > picked_up and scan.status not in _UNMOVED)
        yield from missed("stalled_after_pickup", picked_up + DAY, moved)
        if self._on_douyin:
            at_hub = first(lambda scan: scan.at > picked_up and scan.status in _AT_HUB)
            yield from missed("first_hub_overdue", picked_up + DAY, at_hub)

    def _by_case(self, case: Case) -> Iterator[_Missed]:
        sent_back, resent = (upload[0] if upload else None for upload in (case.sent_back, case.resent))
        lifted = min((at for at in (case.closed, case.refunded, resent) if at is not None), default=None)
        rule = "resend_answer_overdue" if case.kind == "resend" else "aftersale_answer_overdue"
        yield from self._missed(rule, case.opened + 48 * HOUR, case.answered, lifted)
        by = self._moved(rule, case.opened + 48 * HOUR)
        agreed = case.answered if case.answered is not None and case.answered <= by else by
        rejected = agreed == case.answered and case.answer == "rejected"
        if case.kind == "resend" and not rejected:
            yield from self._missed("resend_overdue", agreed + 48 * HOUR, resent, lifted)
        if case.kind == "return_refund" and not rejected:
            yield from self._missed("return_shipment_overdue", agreed + 7 * DAY, sent_back, lifted)
        if sent_back is not None:
            yield from self._missed("return_receipt_overdue", sent_back + 7 * DAY, case.received, lifted)
            by = self._moved("return_receipt_overdue", sent_back + 7 * DAY)
            received = min(by, by if case.received is None else case.received)
            yield from self._missed("refund_overdue", received + 48 * HOUR, case.refunded, lifted)

    # --- what happened

    def _by_trace(self, parcel: Parcel) -> Iterator[tuple[str, int]]:
        """Give the rules that are broken by something that happened, and when."""
        order = self._order
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


def _scanned(parcel: Parcel, platform: str) -> Parcel:
    """Return the parcel whose scans count: on WeChat a transfer counts only in the province that the parcel started from."""
    if parcel.replaced_at is None or parcel.replaced_by is None:
        return parcel
    replaced_at = parcel.replaced_at
    scans = sorted(parcel.scans, key=lambda scan: scan.at)
    start = next((scan for scan in scans if scan.status == "picked_up"), scans[0] if scans else None)
    seen = [scan.city for scan in scans if scan.at <= replaced_at]
    there = parcel.replaced_in or (seen[-1] if seen else None)
    elsewhere = start is not None and there is not None and start.city.province != there.province
    counts = platform != "wechat_channels" or parcel.replaced_as == "correction" or not elsewhere
    return parcel.replaced_by if counts else parcel


def _used_for_another(order: Order, uploaded: int, parcel: Parcel, other: Order) -> bool:
    """Return whether the number had been uploaded for the other order, of somebody else or to somewhere else."""
    same_receiver = (order.buyer, order.address) == (other.buyer, other.address)
    return not same_receiver and any(
        parcel is others
        and (before, other.order_id) < (uploaded, order.order_id)
        and uploaded - before <= _REUSE_WINDOW
        for before, others in other.uploads
    )
