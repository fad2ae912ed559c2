"""USPS: answers of its Tracking API, version 3."""

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, Final

from pydantic import Field, model_validator

from schemas.carriers._abroad import WORLD, Instant, best, has_rows
from schemas.carriers._contract import Adapter, Code, Loose, Rows, Status, Told, first, place
from schemas.events import ScanStatus as S

_HOME: Final = "US"


class TrackEvent(Loose):
    """One scan. `eventType` is its text."""

    at: Instant = Field(None, validation_alias="GMTTimestamp")
    text: str | None = Field(None, validation_alias="eventType")
    code: str | None = Field(None, validation_alias="eventCode")
    country: str | None = Field(None, validation_alias="eventCountry")
    state: str | None = Field(None, validation_alias="eventState")
    city: str | None = Field(None, validation_alias="eventCity")

    @model_validator(mode="before")
    @classmethod
    def _timed(cls, given: Any) -> Any:
        """Take Greenwich's time, else the local one with its offset."""
        if not isinstance(given, dict) or given.get("GMTTimestamp"):
            return given
        local, offset = given.get("eventTimestamp"), given.get("GMTOffset") or ""
        return {**given, "GMTTimestamp": f"{local}{offset}" if local else None}


class Tracking(Loose):
    """One parcel, newest scan first. Its `status` is that of the newest."""

    number: Code = Field(validation_alias="trackingNumber")
    events: Rows[TrackEvent] = Field(default=[], validation_alias="trackingEvents")


class Usps(Adapter):
    """USPS, Tracking API.

    A local time whose offset is missing as well is read as UTC.
    """

    zone = WORLD
    statuses: ClassVar[Mapping[str, Status]] = {
        "01": S.DELIVERED, "02": S.DELIVERY_FAILED, "03": S.PICKED_UP, "04": S.DELIVERY_FAILED,
        "05": S.DELIVERY_FAILED, "07": S.ARRIVED_AT_FACILITY, "09": S.RETURNING, "10": S.IN_TRANSIT,
        "16": S.AVAILABLE_FOR_PICKUP, "53": S.DELIVERY_FAILED, "54": S.DELIVERY_FAILED, "55": S.DELIVERY_FAILED,
        "56": S.DELIVERY_FAILED, "A1": S.ARRIVED_AT_FACILITY, "GX": S.INFO_RECEIVED, "MA": S.INFO_RECEIVED,
        "OA": S.PICKED_UP, "OF": S.OUT_FOR_DELIVERY, "SF": S.DEPARTED_FACILITY, "T1": S.DEPARTED_FACILITY,
    }  # fmt: skip

    def document(self, node: Mapping[str, Any]) -> type[Loose] | None:
        """By the columns of its events; Asendia's events are under the same key."""
        named = "trackingNumber" in node and "trackingEvents" in node
        return (
            Tracking if named and (has_rows(node, "trackingEvents", "eventType") or "statusCategory" in node) else None
        )

    def told(self, document: Tracking) -> Iterator[Told]:
        """The scans. USPS leaves out its own country."""
        for each in document.events:
            country = first(each.country) or (_HOME if first(each.state) else None)
            where = place(country=country, province=each.state, city=each.city)
            yield Told("usps", document.number, each.at, first(each.text), best(self.statuses, each.code), where)
