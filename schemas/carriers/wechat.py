"""WeChat (微信小店, 视频号): what it pushes about waybills, in JSON, and the tracks that its express interface gives."""

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from pydantic import Field

from schemas.carriers._contract import CHINA, Adapter, Code, Loose, Moment, Rows, Spelled, Status, Told, first
from schemas.carriers._tables import shipped
from schemas.events import ScanStatus as S


class Waybill(Loose):
    """The state of an electronic waybill. Its example names no carrier: then the number may betray it."""

    number: Code = Field(validation_alias="waybill_id")
    carrier: str | None = Field(None, validation_alias="delivery_id")
    time: Moment = Field(validation_alias="update_time")
    status: str | None = None
    text: str | None = Field(None, validation_alias="desc")


class WaybillPush(Loose):
    """`ewaybill_push_path`."""

    waybill: Waybill = Field(validation_alias="waybill_info")


class Action(Spelled):
    """One scan of a track."""

    time: Moment = Field(alias="ActionTime")
    code: str | None = Field(None, alias="ActionType")
    text: str | None = Field(None, alias="ActionMsg")


class Track(Spelled):
    """`add_express_path`: the whole track at each change, with its version."""

    carrier: Code = Field(alias="DeliveryID")
    number: Code = Field(alias="WayBillId")
    actions: Rows[Action] = Field(default=[], alias="Actions")


class Path(Spelled):
    """The same as an answer (`getPath`)."""

    carrier: Code = Field(alias="DeliveryID")
    number: Code = Field(alias="WayBillId")
    actions: Rows[Action] = Field(default=[], alias="PathItemList")


class Shipped(Loose):
    """`channels_ec_order_deliver`: the merchant has clicked that an order was shipped. It names no waybill, so it tells nothing."""


class Wechat(Adapter):
    """WeChat (微信): ewaybill path update, express track, shipping click."""

    zone = CHINA
    statuses: ClassVar[Mapping[str, Status]] = {
        # Of a waybill. 9, taken out of the locker, may be the recipient or the courier.
        "0": S.INFO_RECEIVED, "1": S.PICKED_UP, "2": S.IN_TRANSIT, "3": S.OUT_FOR_DELIVERY, "4": S.AVAILABLE_FOR_PICKUP,
        "5": S.DELIVERED, "6": S.RETURNING, "7": S.FORWARDED, "8": S.EXCEPTION,
        # Of a track.
        "100001": S.PICKED_UP, "100002": S.EXCEPTION, "100003": S.INFO_RECEIVED, "200001": S.IN_TRANSIT,
        "300002": S.OUT_FOR_DELIVERY, "300003": S.DELIVERED, "300004": S.DELIVERY_FAILED, "400001": S.CANCELLED,
        "400002": S.EXCEPTION,
    }  # fmt: skip

    def document(self, node: Mapping[str, Any]) -> type[Loose] | None:
        """Pushes say what they are in `Event`."""
        if "path_item_list" in node and "waybill_id" in node:
            return Path
        pushes: dict[str, type[Loose]] = {
            "ewaybill_push_path": WaybillPush,
            "add_express_path": Track,
            "channels_ec_order_deliver": Shipped,
        }
        return pushes.get(str(node.get("Event")))

    def told(self, document: WaybillPush | Track | Path | Shipped) -> Iterator[Told]:
        """The scan, or those of the track."""
        if isinstance(document, WaybillPush):
            waybill = document.waybill
            carrier = first(waybill.carrier, shipped().carrier_of_number(waybill.number))
            if waybill.time is None:
                return
            if carrier is None:
                raise ValueError("waybill_info.delivery_id: missing, and the number does not tell the carrier")
            yield Told(carrier, waybill.number, waybill.time, first(waybill.text), waybill.status)
        elif isinstance(document, Track | Path):
            for action in document.actions:
                yield Told(document.carrier, document.number, action.time, first(action.text), action.code)
