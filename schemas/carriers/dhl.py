"""DHL: answers and pushes of Shipment Tracking Unified, and answers of MyDHL (DHL Express)."""

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from pydantic import Field, model_validator

from schemas.carriers._abroad import WORLD, Instant, best, has_rows
from schemas.carriers._contract import Adapter, Code, Loose, Rows, Status, Told, first, place
from schemas.events import ScanStatus as S


class Address(Loose):
    """Where a scan was."""

    country: str | None = Field(None, validation_alias="countryCode")
    city: str | None = Field(None, validation_alias="addressLocality")


class Place(Loose):
    """An address one level deeper."""

    address: Address | None = None


class UnifiedEvent(Loose):
    """One scan."""

    at: Instant = Field(None, validation_alias="timestamp")
    code: str | None = Field(None, validation_alias="statusCode")
    status: str | None = None
    description: str | None = None
    location: Place | None = None


class Unified(Loose):
    """One parcel, newest scan first. Its own `status` repeats that."""

    number: Code = Field(validation_alias="id")
    events: Rows[UnifiedEvent] = Field(default=[])


class Area(Loose):
    """DHL's name of a region."""

    description: str | None = None


class ExpressEvent(Loose):
    """One scan: day and hour of the place, whose offset newer versions tell."""

    at: Instant = Field(None, validation_alias="date")
    code: str | None = Field(None, validation_alias="typeCode")
    description: str | None = None
    areas: Rows[Area] = Field(default=[], validation_alias="serviceArea")

    @model_validator(mode="before")
    @classmethod
    def _timed(cls, given: Any) -> Any:
        if not isinstance(given, dict) or not given.get("date") or not given.get("time"):
            return given
        return {**given, "date": f"{given['date']} {given['time']}{given.get('GMTOffset') or ''}"}


class Express(Loose):
    """One parcel of DHL Express."""

    number: Code = Field(validation_alias="shipmentTrackingNumber")
    events: Rows[ExpressEvent] = Field(default=[])


class Dhl(Adapter):
    """DHL, Unified and MyDHL.

    Times without an offset are local to the place, whose zone is not told. They are read as UTC.
    """

    zone = WORLD
    statuses: ClassVar[Mapping[str, Status]] = {
        "pre-transit": S.INFO_RECEIVED, "transit": S.IN_TRANSIT, "delivered": S.DELIVERED, "failure": S.EXCEPTION,
        # MyDHL's.
        "PU": S.PICKED_UP, "PL": S.IN_TRANSIT, "DF": S.DEPARTED_FACILITY, "AF": S.ARRIVED_AT_FACILITY,
        "AR": S.ARRIVED_AT_FACILITY, "CR": S.CUSTOMS, "RR": S.CUSTOMS, "WC": S.OUT_FOR_DELIVERY, "OK": S.DELIVERED,
        "OH": S.EXCEPTION, "NH": S.DELIVERY_FAILED, "BA": S.DELIVERY_FAILED, "RT": S.RETURNING,
    }  # fmt: skip

    def document(self, node: Mapping[str, Any]) -> type[Loose] | None:
        """A parcel of Unified names its service; MyDHL's number has a name of its own."""
        if "shipmentTrackingNumber" in node and isinstance(node.get("events"), list):
            return Express
        unified = {"id", "service", "events"} <= node.keys() and has_rows(node, "events", "timestamp")
        return Unified if unified else None

    def told(self, document: Unified | Express) -> Iterator[Told]:
        """The scans."""
        for each in document.events:
            code = best(self.statuses, each.code)
            if isinstance(each, UnifiedEvent):
                address = (each.location and each.location.address) or Address()
                where = place(country=address.country, text=address.city)
                text = first(each.description, each.status)
            else:
                where, text = place(text=next((area.description for area in each.areas), None)), first(each.description)
            yield Told("dhl", document.number, each.at, text, code, where)
