"""EasyPost: trackers, alone, in lists, in the events that webhooks get, and in shipments."""

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, Final

from pydantic import Field

from schemas.carriers._abroad import WORLD, Instant, Nothing, best, carrier_of_form
from schemas.carriers._contract import NO_SCAN, Adapter, Code, Loose, Rows, Status, Told, first, place
from schemas.events import ScanStatus as S

_FIRM: Final = frozenset({"pre_transit", "delivered"})
"""Statuses that no detail makes more exact: `arrived_at_destination` is seen beside `delivered`."""


class Place(Loose):
    """Where a scan was."""

    city: str | None = None
    state: str | None = None
    country: str | None = None


class Detail(Loose):
    """One scan. `status_detail` is the finer code; where it says nothing, `status_update` and the like, `status` counts."""

    at: Instant = Field(None, validation_alias="datetime")
    message: str | None = None
    description: str | None = None
    status: str | None = None
    status_detail: str | None = None
    source: str | None = None
    place: Place | None = Field(None, validation_alias="tracking_location")


class Tracker(Loose):
    """One parcel."""

    number: Code = Field(validation_alias="tracking_code")
    carrier: str | None = None
    tracking_details: Rows[Detail] = Field(default=[])


class Easypost(Adapter):
    """EasyPost, tracker, webhook and shipment.

    All times are UTC, and marked so.
    """

    zone = WORLD
    statuses: ClassVar[Mapping[str, Status]] = {
        "pre_transit": S.INFO_RECEIVED, "in_transit": S.IN_TRANSIT, "out_for_delivery": S.OUT_FOR_DELIVERY,
        "delivered": S.DELIVERED, "available_for_pickup": S.AVAILABLE_FOR_PICKUP, "return_to_sender": S.RETURNING,
        "failure": S.DELIVERY_FAILED, "cancelled": S.CANCELLED, "canceled": S.CANCELLED, "error": NO_SCAN,
        # Details. `unknown`, `status_update` and `in_transit` are none.
        "address_correction": S.EXCEPTION, "arrived_at_destination": S.ARRIVED_AT_FACILITY,
        "arrived_at_facility": S.ARRIVED_AT_FACILITY, "arrived_at_pickup_location": S.AVAILABLE_FOR_PICKUP,
        "awaiting_information": S.EXCEPTION, "damaged": S.EXCEPTION, "delayed": S.EXCEPTION,
        "delivery_exception": S.DELIVERY_FAILED, "departed_facility": S.DEPARTED_FACILITY,
        "departed_origin_facility": S.DEPARTED_FACILITY, "expired": NO_SCAN, "held": S.EXCEPTION,
        "label_created": S.INFO_RECEIVED, "lost": S.EXCEPTION, "missorted": S.EXCEPTION,
        "received_at_destination_facility": S.ARRIVED_AT_FACILITY, "received_at_origin_facility": S.PICKED_UP,
        "refused": S.DELIVERY_FAILED, "return": S.RETURNING, "transferred_to_destination_carrier": S.FORWARDED,
        "transit_exception": S.EXCEPTION, "weather_delay": S.EXCEPTION,
    }  # fmt: skip

    def document(self, node: Mapping[str, Any]) -> type[Loose] | None:
        """A tracker has a `tracking_code` and details; a list of trackers may be empty."""
        if "tracking_code" in node and ("tracking_details" in node or node.get("object") == "Tracker"):
            return Tracker
        return Nothing if node.get("trackers") == [] else None

    def told(self, document: Tracker | Nothing) -> Iterator[Told]:
        """The scans. Where no carrier is named, the details' source or the number may tell it."""
        if isinstance(document, Nothing) or not document.tracking_details:
            return
        source = next((each.source for each in document.tracking_details if each.source), None)
        carrier = first(document.carrier, source, carrier_of_form(document.number))
        if carrier is None:
            raise ValueError("carrier: missing, and neither the details nor the number tell it")
        for each in document.tracking_details:
            text = first(each.message, each.description)
            codes = (each.status, each.status_detail)
            code = best(self.statuses, *(codes if each.status in _FIRM else codes[::-1]))
            if code is None and text is None:  # nobody knows anything
                continue
            at = each.place or Place()
            where = place(country=at.country, province=at.state, city=at.city)
            yield Told(carrier, document.number, each.at, text, code, where)
