"""Invented histories of a few orders, and the ways in which they may arrive. For tests only.

Everything is drawn from few values, so that ties, shared waybills, equal addresses in other words, and times exactly on a
limit (and a microsecond beside it) are likely: the limits of the rules are differences between the hours in `HOURS`.

Left out of `histories()`, because the rules leave open which fact counts: two different `order_paid` of one order at one
instant, two different `address_changed` of one order at one instant, two kinds or two answers of one case at one instant, and
two scans of a waybill with one status at one instant in different words (which can be two last drops in two cities).
`histories(contradictions=True)` has them. Two replacements of one waybill at one instant are in both: the rules say which counts.
"""

import itertools
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from functools import cache
from typing import Any, Final

from hypothesis import strategies as st

from tests.oracle import RULES, moment, received_at

Event = dict[str, Any]

START: Final = datetime(2026, 3, 1, tzinfo=UTC)
HOURS: Final = (0, 1, 2, 24, 25, 48, 49, 50, 72, 73, 96, 97, 120, 144, 168, 192, 216, 720, 721, 744)
"""Hours after `START`. Their differences are all the limits: 1, 2, 23, 24, 48, 49, 50, 72, 96, 97, 120, 144, 168 and 720 hours.

216 hours are a case's 48 and 168, or 168 and 48, one after the other.
"""
OPENING_HOURS: Final = (0, 0, 1, 2, 24)
CHINA: Final = timezone(timedelta(hours=8))

WAYBILLS: Final = (("zto", "1"), ("zto", "2"), ("zto", "3"), ("sf", "1"))
"""The same number at two carriers is two waybills."""

STATUSES: Final = (
    *("picked_up", "in_transit", "arrived_at_facility", "out_for_delivery", "available_for_pickup", "delivered"),
    *("info_received", "departed_facility", "customs", "delivery_failed", "exception", "cancelled"),
    *("returning", "returned", "forwarded"),
)

ADDRESSES: Final = (
    {"province": "广东省", "city": "深圳市", "district": "南山区", "detail": "科技园1栋"},
    {"province": "广东", "city": "深圳", "district": "南山区", "detail": "科技园 １栋"},
    {"text": "广东省深圳市南山区，科技园1栋"},
    {"province": "广东省", "city": "中山市", "detail": "石岐街道2号"},
    {"province": "辽宁省", "city": "中山", "detail": "石岐街道2号"},
    {"province": "北京市", "city": "市辖区", "district": "朝阳区", "detail": "建国路88号"},
    {"province": "湖北省", "city": "省直辖县级行政区划", "district": "仙桃市", "detail": "沔阳大道1号"},
    {"province": "吉林省", "city": "延边朝鲜族自治州", "district": "延吉市", "detail": "人民路3号"},
    {"province": "广东省", "detail": "某处"},
    {"province": "广东省", "detail": "中山市石岐街道2号"},
    {"province": "浙江省", "city": "金华市", "district": "义乌市"},
    {"text": "浙江义乌北苑街道5号"},
    {"text": "安徽省巢湖市含山县环峰镇"},
    {"province": "广东省", "city": "外星市", "detail": "1号"},
    {"city": "Springfield", "detail": "742 Evergreen Terrace"},
    {"text": "United States, Los Angeles CA 90001"},
)
"""The first three are one address in three spellings. Some say in words alone where they are, or not at all; a former city,
cities in no list, a city abroad.
"""

LOCATIONS: Final = (
    {"province": "广东省", "city": "深圳市", "district": "南山区", "facility": "南山营业部"},
    {"city": "深圳"},
    {"country": "CN", "province": "广东省", "city": "中山市"},
    {"province": "辽宁省", "city": "中山市"},
    {"province": "北京", "city": "北京市"},
    {"city": "北京市", "facility": "北京转运中心"},
    {"province": "湖北", "city": "仙桃"},
    {"city": "延边"},
    {"text": "【北京市】快件已到达"},
    {"province": "广东省"},
    None,
    {"province": "吉林省", "city": "延吉市"},
    {"text": "【金华市】【义乌一部】"},
    {"city": "义乌市"},
    {"facility": "深圳转运中心"},
)
"""None that may be in several cities, so that "another city" does not depend on which of two ties is first."""

DROP_LOCATIONS: Final = (
    {"text": "【西安】快件已签收"},
    {"text": "【鼓楼区】快件已签收"},
    {"province": "广东省", "city": "外星市"},
    {"province": "浙江省", "city": "外星市"},
    {"city": "外星"},
    {"city": "Shelbyville"},
    {"country": "US", "city": "Springfield"},
    {"country": "JP"},
    {"text": "【美国】快件已签收"},
    {"text": "【马鞍山】【含山一部】"},
)
"""Where parcels may end besides: in one of several cities, in a city that is in no list, abroad."""

DESCRIPTIONS: Final = ("快件已发出", "快件离开【中山市中转部】，发往【北京】", "【北京市】 快件已由驿站代收")

RECIPIENTS: Final = (
    {"name": "张三", "phone": "13800000001"},
    {"name": "张 三", "phone": "１３８-0000-0001"},
    {"name": "李四", "phone": "13800000001"},
    {"name": "张三", "phone": "13900000002"},
    {"name": "张三"},
    {"phone": "13900000002"},
    None,
)
"""The first two are one recipient in two spellings."""

PLATFORMS: Final = ("wechat_channels", "douyin", "douyin", "elsewhere", "testmarket", "testmarket")
CATEGORIES: Final = ("presale", "presale", "stock", "tiered", "special", "toys", "custom_made")
REGIONS: Final = ("广东省", "440000", "440305", "广东省 深圳市", "北京市", "中山市", "湖北省仙桃市", "222400")
"""Provinces, prefectures and counties that addresses lie in, in several spellings."""
AFTERSALE_IDS: Final = ("r1", "r2")
"""Of every order: two orders may have cases of one id."""


@dataclass(frozen=True)
class Restart:
    """Between two batches of `arrivals`: what reads them stops here, and another begins where it left off."""


# --------------------------------------------------------------------------------------------------------------- times


def instants(hours: Iterable[int] = HOURS) -> st.SearchStrategy[datetime]:
    """Times on the grid, mostly on a full hour, else a microsecond beside it: also good for `as_of`."""
    beside = st.sampled_from((0, 0, 0, 0, 1, -1))
    return st.builds(
        lambda hour, microseconds: START + timedelta(hours=hour, microseconds=microseconds),
        st.sampled_from(tuple(hours)),
        beside,
    )


def rfc3339(time: datetime, style: int = 0) -> str:
    """Write a time: 0 in UTC with Z, 1 at +08:00, 2 in UTC with all six digits."""
    if style == 1:
        return time.astimezone(CHINA).isoformat()
    return time.astimezone(UTC).isoformat(timespec="microseconds" if style else "auto").replace("+00:00", "Z")


TIMES: Final = st.builds(rfc3339, instants(), st.integers(0, 2))
OPENING_TIMES: Final = st.builds(rfc3339, instants(OPENING_HOURS), st.integers(0, 2))
LAGS: Final = st.sampled_from((None, None, None, None, 0, 1, 23, 48, 721, -1, -24))
"""Hours from when it happened until it was known; a fact may seem to come from the future by as much as a day."""


def known_later(event: Event, lag_hours: int | None) -> Event:
    """Give the event a `received_at`, this long after it happened; none at all for None."""
    if lag_hours is None:
        return event
    return event | {"received_at": rfc3339(moment(event["occurred_at"]) + timedelta(hours=lag_hours))}


# -------------------------------------------------------------------------------------------------------------- events


def event(
    kind: str, optional: Mapping[str, st.SearchStrategy[Any]] | None = None, /, **fields: Any
) -> st.SearchStrategy[Event]:
    """Events of one type. A field that is drawn as None is left out, as is each of `optional` half of the time."""
    required = {
        name: value if isinstance(value, st.SearchStrategy) else st.just(value) for name, value in fields.items()
    }
    drawn = st.fixed_dictionaries(
        {"type": st.just(kind), "occurred_at": TIMES} | required, optional=dict(optional or {})
    )
    given = drawn.map(lambda event: {name: value for name, value in event.items() if value is not None})
    return st.builds(known_later, given, LAGS)


def payments(order_id: str) -> st.SearchStrategy[Event]:
    """An order's payment, early enough for every deadline to pass within the history."""
    return event(
        "order_paid",
        {
            "amount": st.sampled_from(("0", "199.00")),
            "ship_within_hours": st.sampled_from((1, 24, 72, 73, 120, 121, 720)),
            "category": st.sampled_from(CATEGORIES),
            "products": st.sampled_from((["p1"], ["p1", "p2"])),
        },
        order_id=order_id,
        occurred_at=OPENING_TIMES,
        platform=st.sampled_from(PLATFORMS),
        merchant_id=st.sampled_from(("m1", "m2")),
        recipient=st.sampled_from(RECIPIENTS),
        address=st.sampled_from((*ADDRESSES, None)),
    )


def uploads(order_id: str) -> st.SearchStrategy[Event]:
    """Uploads, of waybills that other orders use too."""
    return st.sampled_from(WAYBILLS).flatmap(
        lambda waybill: event("waybill_uploaded", order_id=order_id, carrier=waybill[0], waybill_no=waybill[1])
    )


SCOPES: Final = {
    "platform": st.sampled_from(PLATFORMS),
    "merchant_id": st.sampled_from(("m1", "m2")),
    "region": st.sampled_from(REGIONS),
}
PERIODS: Final = st.one_of(
    st.just((None, None)),
    st.just((None, None)),
    st.tuples(st.none(), TIMES),
    st.tuples(TIMES, st.none()),
    st.lists(TIMES, min_size=2, max_size=2).map(lambda ends: tuple(sorted(ends, key=moment))),
)


def exemptions(**scopes: Any) -> st.SearchStrategy[Event]:
    """Exemptions of both kinds, for one rule, several or all, with and without a period."""
    rules = st.one_of(st.just(["*"]), st.lists(st.sampled_from(RULES), min_size=1, max_size=3, unique=True))
    extended_to = st.one_of(st.none(), st.none(), TIMES)
    granted = event("exemption_granted", {"reason": st.just("暴雨")}, **scopes, rules=rules, extended_to=extended_to)
    return st.builds(within_period, granted, PERIODS)


def within_period(exemption: Event, period: tuple[str | None, str | None]) -> Event:
    """Give the exemption the ends of its period that there are."""
    ends = zip(("applies_from", "applies_until"), period, strict=True)
    return exemption | {name: time for name, time in ends if time is not None}


def exemptions_of_order(order_id: str) -> st.SearchStrategy[Event]:
    """Exemptions of one order; whatever else they name does not matter."""
    others = st.sampled_from(({}, {}, {}, {"platform": "elsewhere"}, {"merchant_id": "m1", "region": "北京市"}))
    return st.builds(lambda exemption, other: exemption | other, exemptions(order_id=order_id), others)


@cache
def exemptions_of_many() -> st.SearchStrategy[Event]:
    """Exemptions of all orders that are named by one scope or several."""
    some_scopes = [
        ("platform",),
        ("merchant_id",),
        ("region",),
        ("region",),
        ("platform", "merchant_id"),
        tuple(SCOPES),
    ]
    return st.sampled_from(some_scopes).flatmap(lambda names: exemptions(**{name: SCOPES[name] for name in names}))


@cache
def case_events(order_id: str, aftersale_id: str) -> st.SearchStrategy[list[Event]]:
    """Return what happens in one case: anything, in any order; what was sent again may travel under any waybill."""

    def one(what: str, /, **fields: Any) -> st.SearchStrategy[Event]:
        return event(what, order_id=order_id, aftersale_id=aftersale_id, **fields)

    def parcel(what: str) -> st.SearchStrategy[Event]:
        times = OPENING_TIMES | TIMES
        return st.sampled_from(WAYBILLS).flatmap(
            lambda to: one(what, carrier=to[0], waybill_no=to[1], occurred_at=times)
        )

    kinds = st.sampled_from(("refund_only", "return_refund", "return_refund", "return_refund", "resend", "resend"))
    answers = st.sampled_from(("agreed", "agreed", "rejected"))
    return several(
        [
            (one("aftersale_opened", kind=kinds, occurred_at=OPENING_TIMES), (0, 1, 1, 1, 1, 1, 2)),
            (one("aftersale_answered", answer=answers), (0, 0, 1, 1, 1, 2)),
            (parcel("return_waybill_uploaded"), (0, 0, 1, 1, 2)),
            (one("return_received"), (0, 0, 0, 1, 2)),
            (one("refunded", amount=st.sampled_from((None, "0.50"))), (0, 0, 0, 0, 1, 2)),
            (parcel("resend_shipped"), (0, 0, 0, 0, 0, 1, 2)),
            (one("aftersale_closed"), (0, 0, 0, 0, 0, 0, 1, 2)),
        ]
    )


def cases(order_id: str) -> st.SearchStrategy[list[Event]]:
    """Return what happens in the cases of one order."""
    of_order = st.sampled_from(((), AFTERSALE_IDS[:1], AFTERSALE_IDS[:1], AFTERSALE_IDS))
    return of_order.flatmap(lambda ids: st.tuples(*(case_events(order_id, one) for one in ids))).map(joined)


@cache
def order_events(order_id: str) -> st.SearchStrategy[list[Event]]:
    """Return what happens to one order, apart from its parcels' scans. Now and then nothing, or no payment."""
    parts: list[tuple[st.SearchStrategy[Event], tuple[int, ...]]] = [
        (payments(order_id), (0, 1, 1, 1, 1, 1, 2)),
        (uploads(order_id), (0, 1, 1, 1, 2, 3)),
        (event("order_cancelled", {"reason": st.just("不想要了")}, order_id=order_id), (0, 0, 0, 0, 1, 2)),
        (
            event(
                "address_changed",
                order_id=order_id,
                address=st.sampled_from(ADDRESSES),
                recipient=st.sampled_from(RECIPIENTS),
            ),
            (0, 0, 0, 1, 2),
        ),
        (exemptions_of_order(order_id), (0, 0, 0, 1, 1, 2)),
    ]
    return st.tuples(several(parts), cases(order_id)).map(joined)


@cache
def waybill_events(carrier: str, waybill_no: str) -> st.SearchStrategy[list[Event]]:
    """Return what happens to one waybill; its scans may belong to no order. Replacements may form chains and circles."""
    scan = event(
        "scan",
        {"description": st.sampled_from(DESCRIPTIONS)},
        carrier=carrier,
        waybill_no=waybill_no,
        status=st.sampled_from(STATUSES),
        location=st.sampled_from(LOCATIONS),
    )
    pickup = event(
        "scan",
        carrier=carrier,
        waybill_no=waybill_no,
        occurred_at=OPENING_TIMES | TIMES,
        status="picked_up",
        location=st.sampled_from(LOCATIONS),
    )
    drop = event(
        "scan",
        carrier=carrier,
        waybill_no=waybill_no,
        status=st.sampled_from(("out_for_delivery", "available_for_pickup", "delivered")),
        location=st.sampled_from(DROP_LOCATIONS),
    )
    replacement = st.sampled_from(WAYBILLS).flatmap(
        lambda new: event(
            "waybill_replaced",
            {"kind": st.sampled_from(("transfer", "transfer", "correction")), "location": st.sampled_from(LOCATIONS)},
            carrier=carrier,
            waybill_no=waybill_no,
            new_carrier=new[0],
            new_waybill_no=new[1],
        )
    )
    return several(
        [(scan, (0, 1, 2, 3, 4)), (pickup, (0, 1, 1, 2)), (drop, (0, 0, 1)), (replacement, (0, 0, 0, 1, 1, 2))]
    )


@st.composite
def transfers(draw: st.DrawFn) -> list[Event]:
    """Return the history of one parcel that changes hands once or more often, in few places and at few moments.

    In the end each waybill is delivered abroad, at a time of its own: when the address was missed says which one counts.
    """
    few = st.builds(rfc3339, instants((1, 2)))
    places = st.sampled_from(
        (*LOCATIONS[:6], LOCATIONS[8], {"province": "广东省"}, {"province": "浙江省", "city": "杭州市"}, None)
    )
    payment = {"type": "order_paid", "occurred_at": rfc3339(START), "order_id": "a", "merchant_id": "m1"}
    payment |= {
        "address": ADDRESSES[0],
        "platform": draw(st.sampled_from(("wechat_channels", "wechat_channels", "testmarket", "douyin"))),
    }
    carrier, waybill_no = draw(st.sampled_from(WAYBILLS[:2]))
    upload = draw(event("waybill_uploaded", order_id="a", carrier=carrier, waybill_no=waybill_no, occurred_at=few))
    parts: list[tuple[st.SearchStrategy[Event], tuple[int, ...]]] = []
    for hour, waybill in enumerate(WAYBILLS[:3], 300):
        old = {"carrier": waybill[0], "waybill_no": waybill[1], "occurred_at": few}
        statuses = st.sampled_from(("picked_up", "info_received", "in_transit"))
        parts.append((event("scan", **old, status=statuses, location=places), (0, 1, 2, 3)))
        new = st.sampled_from(WAYBILLS[:3])
        kinds = st.sampled_from((None, None, "transfer", "correction"))
        replacement = new.flatmap(
            lambda to, old=old, kinds=kinds: event(
                "waybill_replaced",
                **old,
                new_carrier=to[0],
                new_waybill_no=to[1],
                kind=kinds,
                location=places | st.none(),
            )
        )
        parts.append((replacement, (0, 1, 1, 2)))
        abroad = {"occurred_at": rfc3339(START + timedelta(hours=hour)), "location": {"country": "JP"}}
        parts.append((event("scan", **old | abroad, status="delivered"), (1,)))
    return without_contradictions([payment, upload, *draw(several(parts))])


def several(parts: Iterable[tuple[st.SearchStrategy[Event], tuple[int, ...]]]) -> st.SearchStrategy[list[Event]]:
    """Return of each kind of event as many as one of its numbers says."""
    return st.tuples(*(some(one, counts) for one, counts in parts)).map(joined)


def joined(lists: Iterable[Iterable[Event]]) -> list[Event]:
    """Return all events of several lists in one."""
    return list(itertools.chain(*lists))


def some(one: st.SearchStrategy[Event], counts: tuple[int, ...]) -> st.SearchStrategy[list[Event]]:
    """Return as many of `one` as one of the numbers says."""
    return st.sampled_from(counts).flatmap(lambda count: st.lists(one, min_size=count, max_size=count))


# ----------------------------------------------------------------------------------------------------------- histories


@st.composite
def histories(draw: st.DrawFn, contradictions: bool = False) -> list[Event]:
    """Return valid events about one to five orders and up to four waybills, as JSON has them.

    Args:
        draw: From Hypothesis.
        contradictions: Whether facts may contradict each other in ways that the rules leave open.
    """
    order_ids = "abcde"[: draw(st.integers(1, 5))]
    waybills = WAYBILLS[: draw(st.integers(1, len(WAYBILLS)))]
    strategies = [order_events(order_id) for order_id in order_ids] + [waybill_events(*waybill) for waybill in waybills]
    strategies.append(some(exemptions_of_many(), (0, 0, 0, 1, 2)))
    history = [one for strategy in strategies for one in draw(strategy)]
    return history if contradictions else without_contradictions(history)


def without_contradictions(history: Iterable[Event]) -> list[Event]:
    """Keep of the facts that contradict each other the first one written, and all that say the same."""
    said: dict[tuple[Any, ...], str] = {}
    kept = []
    for one in history:
        subject = subject_of(one)
        if subject is None or said.setdefault(subject, content_of(one)) == content_of(one):
            kept.append(one)
    return kept


def subject_of(event: Mapping[str, Any]) -> tuple[Any, ...] | None:
    """Return about what there can be only one fact at an instant, or None for facts that cannot contradict each other."""
    if event["type"] in {"order_paid", "address_changed", "aftersale_opened", "aftersale_answered"}:
        return event["type"], event["order_id"], event.get("aftersale_id"), moment(event["occurred_at"])
    if event["type"] == "scan" and event["status"] != "picked_up":
        return event["carrier"], event["waybill_no"], event["status"], moment(event["occurred_at"])
    return None


TIME_FIELDS: Final = {"occurred_at", "extended_to", "applies_from", "applies_until"}


def content_of(event: Mapping[str, Any]) -> str:
    """Return what the event says, in a form that is equal for equal contents (times as instants)."""
    content = {
        name: str(moment(value)) if name in TIME_FIELDS else value
        for name, value in event.items()
        if name not in {"event_id", "received_at"}
    }
    return json.dumps(content, sort_keys=True)


# ------------------------------------------------------------------------------------------------------------ arrivals


@st.composite
def arrivals(draw: st.DrawFn, history: list[Event]) -> list[list[Event] | Restart]:
    """Return one way in which the history may arrive: shuffled, partly doubled, in batches (some empty), with restarts.

    A double has another `event_id`, and it was received no earlier than the event itself and no later than the last event of
    the history: whatever the clock, the same facts are known from the arrivals as from the history.
    """
    if not history:
        return draw(st.lists(st.one_of(st.just([]), st.builds(Restart)), max_size=2))
    times = sorted(received_at(one) for one in history)
    doubled = draw(st.lists(st.sampled_from(history), max_size=min(10, len(history))))
    doubles = [
        one | {"event_id": f"double-{number}", "received_at": rfc3339(draw(st.sampled_from(later)))}
        for number, one in enumerate(doubled)
        if (later := [time for time in times if time >= received_at(one)])
    ]
    shuffled = draw(st.permutations([*history, *doubles]))
    cuts = sorted(draw(st.lists(st.integers(0, len(shuffled)), max_size=6)))
    bounds = [0, *cuts, len(shuffled)]
    pieces: list[list[Event] | Restart] = []
    for begin, end in itertools.pairwise(bounds):
        if draw(st.sampled_from((False, False, False, True))):
            pieces.append(Restart())
        pieces.append(shuffled[begin:end])
    return pieces


def batches_of(pieces: Iterable[list[Event] | Restart]) -> list[list[Event]]:
    """Return the batches of `arrivals` without the restarts between them."""
    return [piece for piece in pieces if not isinstance(piece, Restart)]


def to_ndjson(events: Iterable[Mapping[str, Any]]) -> bytes:
    """Write events as a file has them: one JSON object a line, UTF-8."""
    return b"".join(json.dumps(one, ensure_ascii=False).encode() + b"\n" for one in events)
