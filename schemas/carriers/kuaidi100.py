"""Kuaidi100 (快递100): pushes and answers to queries, also bare histories in its form as apps hand them on."""

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, Final

from pydantic import AliasChoices, Field

from schemas.carriers._contract import (
    CHINA,
    NO_SCAN,
    Adapter,
    Loose,
    Moment,
    Renumbered,
    Rows,
    Status,
    Told,
    first,
    place,
    refuse_placeholder,
)
from schemas.events import ScanStatus as S

_TIMES: Final = AliasChoices("time", "ftime")


class Trace(Loose):
    """One scan. `statusCode` is the finer code, `status` its name, or that of the coarse one."""

    time: Moment = Field(validation_alias=_TIMES)
    context: str
    status_code: str | None = Field(None, validation_alias="statusCode")
    status: str | None = None
    area_name: str | None = Field(None, validation_alias="areaName")
    location: str | None = None


class History(Loose):
    """One parcel's history, newest scan first. Where the query has failed, there is none, and nothing is needed."""

    nu: str | None = None
    com: str | None = Field(None, validation_alias=AliasChoices("com", "companytype", "comcode"))
    data: Rows[Trace] = Field(default=[])


class Push(Loose):
    """The envelope of a push.

    The carrier was corrected from `comOld` to `comNew` if they are there. `destResult` is the same parcel's history abroad.
    """

    com_old: str | None = Field(None, validation_alias="comOld")
    com_new: str | None = Field(None, validation_alias="comNew")
    last: History = Field(validation_alias="lastResult")
    abroad: History | None = Field(None, validation_alias="destResult")


class Kuaidi100(Adapter):
    """Kuaidi100 (快递100), push and query."""

    zone = CHINA
    statuses: ClassVar[Mapping[str, Status]] = {
        "0": S.IN_TRANSIT, "在途": S.IN_TRANSIT,
        # 1 揽收 also says "ordered" and "to be picked up": no proof of a pickup.
        "101": S.INFO_RECEIVED, "102": S.INFO_RECEIVED, "103": S.PICKED_UP, "已下单": S.INFO_RECEIVED,
        "待揽收": S.INFO_RECEIVED, "已揽收": S.PICKED_UP,
        "2": S.EXCEPTION, "疑难": S.EXCEPTION, "3": S.DELIVERED, "签收": S.DELIVERED, "4": S.RETURNED, "退签": S.RETURNED,
        "5": S.OUT_FOR_DELIVERY, "派件": S.OUT_FOR_DELIVERY, "6": S.RETURNING, "退回": S.RETURNING,
        "7": S.FORWARDED, "转投": S.FORWARDED, "转单": S.FORWARDED, "8": S.CUSTOMS, "清关": S.CUSTOMS,
        "10": S.CUSTOMS, "待清关": S.CUSTOMS, "11": S.CUSTOMS, "清关中": S.CUSTOMS, "12": S.CUSTOMS, "已清关": S.CUSTOMS,
        "13": S.EXCEPTION, "清关异常": S.EXCEPTION, "14": S.DELIVERY_FAILED, "拒签": S.DELIVERY_FAILED,
        "1001": S.ARRIVED_AT_FACILITY, "到达派件城市": S.ARRIVED_AT_FACILITY, "1002": S.IN_TRANSIT, "干线": S.IN_TRANSIT,
        "1003": S.FORWARDED, "转递": S.FORWARDED, "501": S.AVAILABLE_FOR_PICKUP, "投柜或驿站": S.AVAILABLE_FOR_PICKUP,
        "301": S.DELIVERED, "本人签收": S.DELIVERED, "302": S.DELIVERED, "派件异常后签收": S.DELIVERED,
        "303": S.DELIVERED, "代签": S.DELIVERED, "304": S.DELIVERED, "投柜或站签收": S.DELIVERED,
        "401": S.CANCELLED, "已销单": S.CANCELLED, "210": S.CANCELLED, "销单": S.CANCELLED,
        "201": NO_SCAN, "超时未签收": NO_SCAN, "202": NO_SCAN, "超时未更新": NO_SCAN,
        "205": NO_SCAN, "柜或驿站超时未取": NO_SCAN,
        "203": S.DELIVERY_FAILED, "拒收": S.DELIVERY_FAILED, "204": S.DELIVERY_FAILED, "派件异常": S.DELIVERY_FAILED,
        "206": S.DELIVERY_FAILED, "无法联系": S.DELIVERY_FAILED, "207": S.EXCEPTION, "超区": S.EXCEPTION,
        "208": S.EXCEPTION, "滞留": S.EXCEPTION, "209": S.EXCEPTION, "破损": S.EXCEPTION,
    }  # fmt: skip

    def document(self, node: Mapping[str, Any]) -> type[Loose] | None:
        """A push has `lastResult`; a history has `data`, a list of scans with `context`; a failure has `returnCode`."""
        if isinstance(node.get("lastResult"), dict):
            return Push
        data = node.get("data")
        if "mailNo" in node:  # another aggregator's, whose scans look the same
            return None
        if not data:
            flat = not any(isinstance(value, dict | list) and value for value in node.values())
            failed = "message" in node and bool(node.keys() & {"ischeck", "returnCode"})
            return History if flat and failed else None
        found = isinstance(data, list) and isinstance(data[0], dict) and "context" in data[0]
        return History if found else None

    def told(self, document: Push | History) -> Iterator[Told | Renumbered]:
        """The scans of all histories, under the carrier that is right by now, and the correction that led to it."""
        push = document if isinstance(document, Push) else Push(last=document)
        within = "lastResult." if isinstance(document, Push) else ""
        traces = [*push.last.data, *(push.abroad.data if push.abroad else ())]
        if not traces:
            return
        number, carrier = first(push.last.nu), first(push.last.com, push.com_new)
        if number is None or carrier is None:
            raise ValueError(f"{within}{'com' if number else 'nu'}: missing, or empty")
        refuse_placeholder(f"{within}nu", number)
        if first(push.com_old):
            times = [trace.time for trace in traces if trace.time]
            reason = "the aggregator has corrected the carrier"
            yield Renumbered(push.com_old or "", number, carrier, number, min(times, default=None), reason)
        for trace in traces:
            code = first(trace.status_code, trace.status)
            where = place(facility=trace.location, **_parts(trace.area_name))
            yield Told(carrier, number, trace.time, trace.context, code, where)


_MUNICIPALITIES: Final = ("北京", "上海", "天津", "重庆")


def _parts(area: str | None) -> dict[str, str]:
    """Read `山东,济南市,历城区,孙村`; of a municipality the district may follow at once."""
    names = [name for name in (area or "").split(",") if name]
    if names and names[0].startswith(_MUNICIPALITIES) and (len(names) == 1 or names[1].endswith(("区", "县"))):
        names.insert(1, names[0])
    return dict(zip(("province", "city", "district"), names, strict=False))
