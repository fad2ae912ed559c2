"""Cainiao (菜鸟): the latest scan of a parcel, as Alibaba Cloud's SmartLogisticsReport gives it."""

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from pydantic import Field

from schemas.carriers._contract import CHINA, NO_SCAN, Adapter, Code, Loose, Moment, Status, Told, first, place
from schemas.events import ScanStatus as S


class Report(Loose):
    """One parcel, with its latest scan only."""

    carrier: Code = Field(validation_alias="cpCode")
    number: Code = Field(validation_alias="mailNo")
    time: Moment = Field(validation_alias="logisticsGmtModified")
    status: str | None = Field(None, validation_alias="logisticsStatus")
    text: str | None = Field(None, validation_alias="lastLogisticDetail")
    city: str | None = None


class Cainiao(Adapter):
    """Cainiao (菜鸟), SmartLogisticsReport."""

    zone = CHINA
    statuses: ClassVar[Mapping[str, Status]] = {
        "WAIT": S.INFO_RECEIVED, "WAIT_ACCEPT": S.INFO_RECEIVED, "ACCEPT": S.INFO_RECEIVED, "GOT": S.PICKED_UP,
        # The weight was corrected: nothing has moved.
        "MODIFY_WEIGHT": NO_SCAN,
        "TRANSPORT": S.IN_TRANSIT, "DELIVERING": S.OUT_FOR_DELIVERY, "AGENT_SIGN": S.AVAILABLE_FOR_PICKUP,
        "SIGN": S.DELIVERED, "FAILED": S.DELIVERY_FAILED, "REJECT": S.DELIVERY_FAILED, "RETURN": S.RETURNING,
    }  # fmt: skip

    def document(self, node: Mapping[str, Any]) -> type[Loose] | None:
        """By its own names of carrier, number and status."""
        return Report if {"cpCode", "mailNo", "logisticsStatus"} <= node.keys() else None

    def told(self, document: Report) -> Iterator[Told]:
        """The one scan."""
        where = place(city=document.city)
        yield Told(document.carrier, document.number, document.time, first(document.text), document.status, where)
