"""FedEx: answers of its Track API, version 1."""

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from pydantic import Field

from schemas.carriers._abroad import WORLD, Instant, best
from schemas.carriers._contract import Adapter, Code, Loose, Rows, Status, Told, first, place
from schemas.events import ScanStatus as S


class Place(Loose):
    """Where a scan was."""

    city: str | None = None
    state: str | None = Field(None, validation_alias="stateOrProvinceCode")
    country: str | None = Field(None, validation_alias="countryCode")


class ScanEvent(Loose):
    """One scan. What the exception is stands beside the text, which only says that there is one."""

    at: Instant = Field(None, validation_alias="date")
    code: str | None = Field(None, validation_alias="eventType")
    text: str | None = Field(None, validation_alias="eventDescription")
    exception: str | None = Field(None, validation_alias="exceptionDescription")
    derived: str | None = Field(None, validation_alias="derivedStatusCode")
    place: Place | None = Field(None, validation_alias="scanLocation")


class Named(Loose):
    """Which parcel it is."""

    number: Code = Field(validation_alias="trackingNumber")


class Result(Loose):
    """One parcel, newest scan first; if it is not known, there is an error instead."""

    info: Named = Field(validation_alias="trackingNumberInfo")
    events: Rows[ScanEvent] = Field(default=[], validation_alias="scanEvents")


class Fedex(Adapter):
    """FedEx, Track API.

    Times have the offset of the place. One without is read as UTC.
    """

    zone = WORLD
    statuses: ClassVar[Mapping[str, Status]] = {
        "OC": S.INFO_RECEIVED, "PU": S.PICKED_UP, "PX": S.PICKED_UP,
        "IT": S.IN_TRANSIT, "AR": S.ARRIVED_AT_FACILITY, "AF": S.ARRIVED_AT_FACILITY, "FD": S.ARRIVED_AT_FACILITY,
        "DP": S.DEPARTED_FACILITY, "LO": S.DEPARTED_FACILITY, "CC": S.CUSTOMS, "CD": S.CUSTOMS,
        "OD": S.OUT_FOR_DELIVERY, "HL": S.AVAILABLE_FOR_PICKUP, "DL": S.DELIVERED, "DE": S.DELIVERY_FAILED,
        "SE": S.EXCEPTION, "DY": S.EXCEPTION, "RS": S.RETURNING, "CA": S.CANCELLED,
    }  # fmt: skip

    def document(self, node: Mapping[str, Any]) -> type[Loose] | None:
        """By what names the parcel."""
        return (
            Result
            if isinstance(node.get("trackingNumberInfo"), dict) and node.keys() & {"scanEvents", "error"}
            else None
        )

    def told(self, document: Result) -> Iterator[Told]:
        """The scans."""
        for each in document.events:
            text = " - ".join(part for part in (first(each.text), first(each.exception)) if part) or None
            at = each.place or Place()
            where = place(country=at.country, province=at.state, city=at.city)
            yield Told(
                "fedex", document.info.number, each.at, text, best(self.statuses, each.code, each.derived), where
            )
