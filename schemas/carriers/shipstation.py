"""ShipStation and ShipEngine, version 2: tracking information, as answers and in the pushes of `API_TRACK`."""

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from pydantic import Field, model_validator

from schemas.carriers._abroad import WORLD, Instant, best, carrier_of_form
from schemas.carriers._contract import NO_SCAN, Adapter, Code, Loose, Rows, Status, Told, first, place
from schemas.events import ScanStatus as S


class TrackEvent(Loose):
    """One scan."""

    at: Instant = Field(None, validation_alias="occurred_at")
    description: str | None = None
    status: str | None = Field(None, validation_alias="status_code")
    country: str | None = Field(None, validation_alias="country_code")
    state: str | None = Field(None, validation_alias="state_province")
    city: str | None = Field(None, validation_alias="city_locality")

    @model_validator(mode="before")
    @classmethod
    def _timed(cls, given: Any) -> Any:
        """Take the time in UTC, else the carrier's."""
        if not isinstance(given, dict) or given.get("occurred_at"):
            return given
        return {**given, "occurred_at": given.get("carrier_occurred_at")}


class Tracking(Loose):
    """One parcel. Its status is the parcel's."""

    number: Code = Field(validation_alias="tracking_number")
    carrier: str | None = Field(None, validation_alias="carrier_code")
    events: Rows[TrackEvent] = Field(default=[])


class Shipstation(Adapter):
    """ShipStation and ShipEngine, tracking information.

    `occurred_at` is UTC. `carrier_occurred_at`, where it is the only one, is local, and read as UTC.
    """

    zone = WORLD
    statuses: ClassVar[Mapping[str, Status]] = {
        "UN": NO_SCAN, "NY": S.INFO_RECEIVED, "AC": S.INFO_RECEIVED, "IT": S.IN_TRANSIT, "OD": S.OUT_FOR_DELIVERY,
        "SP": S.AVAILABLE_FOR_PICKUP, "DE": S.DELIVERED, "AT": S.DELIVERY_FAILED, "EX": S.EXCEPTION,
    }  # fmt: skip

    def document(self, node: Mapping[str, Any]) -> type[Loose] | None:
        """By the parcel's status, in its own code and in words or the carrier's, and the list of events."""
        named = {"tracking_number", "status_code"} <= node.keys()
        named = named and bool(node.keys() & {"status_description", "carrier_status_code"})
        return Tracking if named and isinstance(node.get("events"), list) else None

    def told(self, document: Tracking) -> Iterator[Told]:
        """The scans. Where no carrier is named, the number may tell it."""
        carrier = first(document.carrier, carrier_of_form(document.number))
        if document.events and carrier is None:
            raise ValueError("carrier_code: missing, and the number does not tell the carrier")
        for each in document.events:
            code = best(self.statuses, (each.status or "").upper())
            if code == "UN" and each.description:  # unknown to ShipStation; the carrier's text may say it
                code = None
            where = place(country=each.country, province=each.state, city=each.city)
            yield Told(carrier or "", document.number, each.at, first(each.description), code, where)
