"""Kuaidiniao (快递鸟): pushes and answers to queries, in any spelling of their keys that libraries turn them into."""

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from pydantic import Field

from schemas.carriers._contract import (
    CHINA,
    NO_SCAN,
    Adapter,
    Moment,
    Rows,
    Spelled,
    Status,
    Told,
    first,
    folded,
    place,
    refuse_placeholder,
)
from schemas.events import ScanStatus as S


class Trace(Spelled):
    """One scan; `Action` is its code, if the service was paid for."""

    time: Moment = Field(alias="AcceptTime")
    station: str = Field(alias="AcceptStation")
    action: str | None = Field(None, alias="Action")
    location: str | None = Field(None, alias="Location")


class History(Spelled):
    """One parcel's history, oldest scan first. `State` is the parcel's, not a scan's. Where the query has failed, there is none."""

    number: str | None = Field(None, alias="LogisticCode")
    code: str | None = Field(None, alias="ShipperCode")
    name: str | None = Field(None, alias="ShipperName")
    traces: Rows[Trace] = Field(default=[], alias="Traces")


class Kdniao(Adapter):
    """Kuaidiniao (快递鸟), push and query."""

    zone = CHINA
    statuses: ClassVar[Mapping[str, Status]] = {
        "0": NO_SCAN, "1": S.PICKED_UP, "10": S.INFO_RECEIVED, "2": S.IN_TRANSIT, "201": S.ARRIVED_AT_FACILITY,
        "202": S.OUT_FOR_DELIVERY, "204": S.ARRIVED_AT_FACILITY, "205": S.ARRIVED_AT_FACILITY, "206": S.DEPARTED_FACILITY,
        "211": S.AVAILABLE_FOR_PICKUP, "3": S.DELIVERED, "301": S.DELIVERED, "302": S.DELIVERED, "304": S.DELIVERED,
        "311": S.DELIVERED, "4": S.EXCEPTION, "401": NO_SCAN, "402": NO_SCAN, "403": NO_SCAN, "404": S.RETURNING,
        "405": S.DELIVERY_FAILED, "406": S.RETURNED, "407": S.RETURNING, "412": NO_SCAN, "413": S.RETURNING,
        "414": S.EXCEPTION, "415": S.CANCELLED, "416": S.DELIVERY_FAILED, "417": S.EXCEPTION, "418": S.IN_TRANSIT,
        "419": S.OUT_FOR_DELIVERY, "420": S.DELIVERY_FAILED, "421": S.DELIVERY_FAILED, "422": S.EXCEPTION,
        "423": S.EXCEPTION, "5": S.FORWARDED, "6": S.CUSTOMS, "601": S.CUSTOMS, "602": S.CUSTOMS, "603": S.CUSTOMS,
        "604": S.EXCEPTION,
    }  # fmt: skip

    def document(self, node: Mapping[str, Any]) -> type[Spelled] | None:
        """A history has `Traces`; a push without any has an empty `Data`; a failure has a `Reason`."""
        keys = folded(node)
        told = "traces" in keys and (isinstance(keys["traces"], list) or keys["traces"] is None)
        failed = {"ebusinessid", "success", "reason"} <= keys.keys() and not keys.get("data")
        empty = {"ebusinessid", "pushtime", "data"} <= keys.keys() and not keys["data"]
        return History if told or failed or empty else None

    def told(self, document: History) -> Iterator[Told]:
        """The scans."""
        if not document.traces:
            return
        number, carrier = first(document.number), first(document.code, document.name)
        if number is None or carrier is None:
            raise ValueError(f"{'ShipperCode' if number else 'LogisticCode'}: missing, or empty")
        refuse_placeholder("LogisticCode", number)
        for trace in document.traces:
            where = place(city=trace.location)
            yield Told(carrier, number, trace.time, trace.station, first(trace.action), where)
