"""Events in a few words, for examples: times are time since `START`, `25 * H + US` is a microsecond past 25 hours after it."""

from datetime import timedelta
from typing import Any, Final

from tests.histories import START, Event, rfc3339
from tests.oracle import judge
from tests.oracle_profiles import PLATFORMS, TESTMARKET

H: Final = timedelta(hours=1)
US: Final = timedelta(microseconds=1)
LATE: Final = 2000 * H

SHENZHEN: Final = {"province": "广东省", "city": "深圳市"}
HANGZHOU: Final = {"province": "浙江省", "city": "杭州市"}
ZHANG: Final = {"name": "张三", "phone": "13800000001"}
LI: Final = {"name": "李四", "phone": "13900000002"}


def paid(at: timedelta = 0 * H, order: str = "a", platform: str = "wechat_channels", **fields: Any) -> Event:
    return fact("order_paid", at, order_id=order, platform=platform, merchant_id="m", **fields)


def uploaded(at: timedelta, order: str = "a", waybill: str = "1", **fields: Any) -> Event:
    return fact("waybill_uploaded", at, order_id=order, **{"carrier": "zto", "waybill_no": waybill} | fields)


def scan(
    status: str, at: timedelta, location: dict[str, str] | None = None, waybill: str = "1", **fields: Any
) -> Event:
    return fact("scan", at, status=status, carrier="zto", waybill_no=waybill, location=location, **fields)


def cancelled(at: timedelta) -> Event:
    return fact("order_cancelled", at, order_id="a")


def moved_to(address: dict[str, str], at: timedelta, order: str = "a", **fields: Any) -> Event:
    return fact("address_changed", at, order_id=order, address=address, **fields)


def exempt(
    *rules: str,
    until: timedelta | None = None,
    begin: timedelta | None = None,
    end: timedelta | None = None,
    **scopes: str,
) -> Event:
    """An exemption of the order `a`, or of those that the scopes name."""
    times = {"extended_to": until, "applies_from": begin, "applies_until": end}
    written = {name: rfc3339(START + time) for name, time in times.items() if time is not None}
    return fact("exemption_granted", 0 * H, rules=list(rules), **(scopes or {"order_id": "a"}), **written)


def replaced(at: timedelta, old: str, new: str, **fields: Any) -> Event:
    return fact("waybill_replaced", at, carrier="zto", waybill_no=old, new_carrier="zto", new_waybill_no=new, **fields)


def opened(at: timedelta, kind: str = "return_refund", **fields: Any) -> Event:
    return case("aftersale_opened", at, kind=kind, **fields)


def answered(at: timedelta, answer: str = "agreed", **fields: Any) -> Event:
    return case("aftersale_answered", at, answer=answer, **fields)


def sent_back(at: timedelta, **fields: Any) -> Event:
    return case("return_waybill_uploaded", at, carrier="zto", waybill_no="r", **fields)


def resent(at: timedelta, waybill: str = "9", **fields: Any) -> Event:
    return case("resend_shipped", at, carrier="zto", waybill_no=waybill, **fields)


def case(what: str, at: timedelta, /, order: str = "a", aftersale: str = "r1", **fields: Any) -> Event:
    """An event about a case."""
    return fact(what, at, order_id=order, aftersale_id=aftersale, **fields)


def fact(what: str, at: timedelta, /, known: timedelta | None = None, **fields: Any) -> Event:
    received = {} if known is None else {"received_at": rfc3339(START + known)}
    given = {name: value for name, value in fields.items() if value is not None}
    return {"type": what, "occurred_at": rfc3339(START + at)} | received | given


EVERYWHERE: Final = PLATFORMS | {"testmarket": TESTMARKET}


def violations(rule: str, *events: Event, as_of: timedelta = LATE, order: str = "a") -> list[timedelta]:
    """When the order violated the rule, as time since `START`."""
    flags = judge(events, START + as_of, EVERYWHERE)
    return sorted(flag.violated_at - START for flag in flags if flag.rule == rule and flag.order_id == order)
