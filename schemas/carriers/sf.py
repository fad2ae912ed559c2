"""SF Express (顺丰): route pushes, answers to route queries, and routes uploaded by partners."""

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from pydantic import AliasChoices, Field

from schemas.carriers._contract import CHINA, Adapter, Code, Loose, Moment, Rows, Status, Told, first, place
from schemas.events import ScanStatus as S

_NUMBER = AliasChoices("mailno", "mailNo", "waybillNo", "waybill_no")
_TIME = AliasChoices("acceptTime", "accept_time", "barScanTm", "scanDateTime")
_CARRIER = "sf"


class Stop(Loose):
    """One scan of a query's answer, which has the number outside."""

    time: Moment = Field(validation_alias=_TIME)
    code: str | None = Field(None, validation_alias=AliasChoices("opCode", "opcode"))
    remark: str | None = Field(None, validation_alias=AliasChoices("remark", "acceptRemark"))
    address: str | None = Field(None, validation_alias=AliasChoices("acceptAddress", "accept_address"))
    zone_code: str | None = Field(None, validation_alias="zoneCode")


class Route(Stop):
    """One scan of a push."""

    number: Code = Field(validation_alias=_NUMBER)


class Routes(Loose):
    """The scans of one parcel, as a query is answered."""

    number: Code = Field(validation_alias=_NUMBER)
    routes: Rows[Stop] = Field(default=[])


class Sf(Adapter):
    """SF Express (顺丰), route push and query."""

    zone = CHINA
    statuses: ClassVar[Mapping[str, Status]] = {
        "50": S.PICKED_UP, "54": S.PICKED_UP, "607": S.PICKED_UP, "188": S.PICKED_UP, "129": S.PICKED_UP,
        "655": S.PICKED_UP, "651": S.PICKED_UP, "700": S.PICKED_UP, "214": S.PICKED_UP,
        "131": S.EXCEPTION, "647": S.INFO_RECEIVED, "127": S.INFO_RECEIVED, "138": S.INFO_RECEIVED,
        "30": S.DEPARTED_FACILITY, "36": S.DEPARTED_FACILITY, "407": S.DEPARTED_FACILITY, "10": S.DEPARTED_FACILITY,
        "105": S.DEPARTED_FACILITY, "136": S.DEPARTED_FACILITY, "31": S.ARRIVED_AT_FACILITY, "11": S.ARRIVED_AT_FACILITY,
        "106": S.ARRIVED_AT_FACILITY, "137": S.ARRIVED_AT_FACILITY, "43": S.ARRIVED_AT_FACILITY, "501": S.IN_TRANSIT,
        "14": S.CUSTOMS, "15": S.CUSTOMS, "16": S.CUSTOMS, "17": S.CUSTOMS, "18": S.CUSTOMS, "604": S.CUSTOMS,
        "606": S.CUSTOMS, "612": S.CUSTOMS, "613": S.CUSTOMS, "619": S.CUSTOMS, "620": S.CUSTOMS, "621": S.CUSTOMS,
        "623": S.CUSTOMS,
        "405": S.DEPARTED_FACILITY, "570": S.DEPARTED_FACILITY, "88": S.DEPARTED_FACILITY, "930": S.DEPARTED_FACILITY,
        "406": S.ARRIVED_AT_FACILITY, "571": S.ARRIVED_AT_FACILITY, "89": S.ARRIVED_AT_FACILITY, "931": S.ARRIVED_AT_FACILITY,
        "630": S.OUT_FOR_DELIVERY, "634": S.OUT_FOR_DELIVERY, "677": S.OUT_FOR_DELIVERY, "678": S.AVAILABLE_FOR_PICKUP,
        "870": S.DELIVERY_FAILED,
        "44": S.OUT_FOR_DELIVERY, "204": S.OUT_FOR_DELIVERY, "123": S.OUT_FOR_DELIVERY, "82": S.OUT_FOR_DELIVERY,
        "125": S.AVAILABLE_FOR_PICKUP, "130": S.AVAILABLE_FOR_PICKUP, "126": S.IN_TRANSIT,
        "33": S.DELIVERY_FAILED, "70": S.DELIVERY_FAILED, "77": S.EXCEPTION,
        "80": S.DELIVERED, "8000": S.DELIVERED, "128": S.DELIVERED,
        "99": S.FORWARDED, "990": S.FORWARDED, "631": S.RETURNED, "648": S.RETURNING,
    }  # fmt: skip

    def document(self, node: Mapping[str, Any]) -> type[Loose] | None:
        """A scan has an `opCode` and one of the times; an answer has `routes` of a number."""
        if isinstance(node.get("routes"), list) and node.keys() & {"mailNo", "mailno"}:
            return Routes
        scanned = node.keys() & {"acceptTime", "accept_time", "barScanTm", "scanDateTime"}
        return Route if scanned and node.keys() & {"opCode", "opcode"} else None

    def told(self, document: Route | Routes) -> Iterator[Told]:
        """The scans."""
        stops = document.routes if isinstance(document, Routes) else [document]
        for stop in stops:
            where = place(text=stop.address, facility=stop.zone_code)
            yield Told(_CARRIER, document.number, stop.time, first(stop.remark), first(stop.code), where)
