"""TrackingMore (and 51Tracking, its twin): webhook pushes and answers to queries, of version 4 and of version 2."""

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, Final

from pydantic import AliasChoices, Field

from schemas.carriers._abroad import Instant, best
from schemas.carriers._contract import (
    CHINA,
    NO_SCAN,
    Adapter,
    Code,
    Loose,
    Rows,
    Status,
    Told,
    first,
    place,
    refuse_placeholder,
)
from schemas.events import ScanStatus as S

_TIMES: Final = AliasChoices("checkpoint_date", "Date")
_TEXTS: Final = AliasChoices("tracking_detail", "StatusDescription")
_STATUSES: Final = AliasChoices("checkpoint_delivery_status", "checkpoint_status")
_SUBSTATUSES: Final = AliasChoices("checkpoint_delivery_substatus", "substatus")
_COUNTRIES: Final = AliasChoices("country_iso2", "country_iso")
_LOCATIONS: Final = AliasChoices("location", "Details")


class TrackEvent(Loose):
    """One scan."""

    at: Instant = Field(None, validation_alias=_TIMES)
    text: str | None = Field(None, validation_alias=_TEXTS)
    status: str | None = Field(None, validation_alias=_STATUSES)
    substatus: str | None = Field(None, validation_alias=_SUBSTATUSES)
    country: str | None = Field(None, validation_alias=_COUNTRIES)
    state: str | None = None
    city: str | None = None
    location: str | None = Field(None, validation_alias=_LOCATIONS)


class Part(Loose):
    """What one of the two carriers of a parcel has told."""

    trackinfo: Rows[TrackEvent] = Field(default=[])


class Tracking(Loose):
    """One parcel, newest scan first. `delivery_status` is the parcel's."""

    number: Code = Field(validation_alias="tracking_number")
    carrier: Code = Field(validation_alias=AliasChoices("courier_code", "carrier_code"))
    origin: Part | None = Field(None, validation_alias="origin_info")
    destination: Part | None = Field(None, validation_alias="destination_info")


class Trackingmore(Adapter):
    """TrackingMore, webhook and query.

    Times have no zone: they are local wherever the scan was. They are read as China's, which is right for the origin of what
    is sold there.
    """

    zone = CHINA
    statuses: ClassVar[Mapping[str, Status]] = {
        "pending": NO_SCAN, "notfound": NO_SCAN, "inforeceived": S.INFO_RECEIVED, "transit": S.IN_TRANSIT,
        "pickup": S.OUT_FOR_DELIVERY, "undelivered": S.DELIVERY_FAILED, "delivered": S.DELIVERED,
        "exception": S.EXCEPTION, "expired": NO_SCAN,
        # Substatuses that say more than their status.
        "notfound001": S.INFO_RECEIVED, "transit002": S.ARRIVED_AT_FACILITY, "transit003": S.ARRIVED_AT_FACILITY,
        "transit004": S.ARRIVED_AT_FACILITY, "transit005": S.CUSTOMS, "transit006": S.DEPARTED_FACILITY,
        "transit007": S.DEPARTED_FACILITY, "pickup002": S.AVAILABLE_FOR_PICKUP, "exception006": S.CUSTOMS,
        "exception008": S.CANCELLED, "exception009": S.DELIVERY_FAILED, "exception010": S.RETURNED,
        "exception011": S.RETURNING,
    }  # fmt: skip

    def document(self, node: Mapping[str, Any]) -> type[Loose] | None:
        """A tracking has a number, a code of the carrier, and parts of which either may be null."""
        named = "tracking_number" in node and bool(node.keys() & {"courier_code", "carrier_code"})
        return Tracking if named and node.keys() & {"origin_info", "destination_info", "delivery_status"} else None

    def told(self, document: Tracking) -> Iterator[Told]:
        """The scans of both carriers, under the first one: it is the same parcel."""
        events = [event for part in (document.origin, document.destination) if part for event in part.trackinfo]
        if events:
            refuse_placeholder("tracking_number", document.number)
        for each in events:
            code = best(self.statuses, each.substatus, each.status)
            where = place(country=each.country, province=each.state, city=each.city, text=each.location)
            yield Told(document.carrier, document.number, each.at, first(each.text), code, where)
