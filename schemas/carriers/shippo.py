"""Shippo: track objects, as answers and in the pushes of `track_updated`."""

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, Final

from pydantic import Field, field_validator, model_validator

from schemas.carriers._abroad import WORLD, Instant, best, unless_told
from schemas.carriers._contract import NO_SCAN, Adapter, Code, Loose, Rows, Status, Told, first, place
from schemas.events import ScanStatus as S

_FIRM: Final = frozenset({"PRE_TRANSIT", "DELIVERED"})
"""Statuses that no substatus makes more exact."""


class Place(Loose):
    """Where a scan was."""

    city: str | None = None
    state: str | None = None
    country: str | None = None


class TrackingStatus(Loose):
    """One scan. `substatus` is an object with a code; in an older version, the code itself."""

    at: Instant = Field(None, validation_alias="status_date")
    status: str | None = None
    substatus: str | None = None
    text: str | None = Field(None, validation_alias="status_details")
    location: Place | None = None

    @field_validator("substatus", mode="before")
    @classmethod
    def _code(cls, given: Any) -> Any:
        return given.get("code") if isinstance(given, dict) else given


class Track(Loose):
    """One parcel. `tracking_status` is the latest scan; it counts where there is no history."""

    number: Code = Field(validation_alias="tracking_number")
    carrier: Code
    tracking_history: Rows[TrackingStatus] = Field(default=[])
    latest: TrackingStatus | None = Field(None, validation_alias="tracking_status")

    @model_validator(mode="before")
    @classmethod
    def _once(cls, given: Any) -> Any:
        told = isinstance(given, dict) and bool(given.get("tracking_history"))
        return unless_told(given, "tracking_status", told=told)


class Shippo(Adapter):
    """Shippo, track and webhook.

    All times are UTC, as documented.
    """

    zone = WORLD
    statuses: ClassVar[Mapping[str, Status]] = {
        "PRE_TRANSIT": S.INFO_RECEIVED, "TRANSIT": S.IN_TRANSIT, "DELIVERED": S.DELIVERED, "RETURNED": S.RETURNING,
        "FAILURE": S.EXCEPTION, "UNKNOWN": NO_SCAN,
        # Substatuses. `other` and those that only repeat their status are not here.
        "information_received": S.INFO_RECEIVED, "package_accepted": S.PICKED_UP,
        "package_arrived": S.ARRIVED_AT_FACILITY, "package_departed": S.DEPARTED_FACILITY,
        "package_processed": S.IN_TRANSIT, "package_processing": S.IN_TRANSIT, "package_forwarded": S.FORWARDED,
        "out_for_delivery": S.OUT_FOR_DELIVERY, "pickup_available": S.AVAILABLE_FOR_PICKUP,
        "delivery_attempted": S.DELIVERY_FAILED, "notice_left": S.DELIVERY_FAILED,
        "location_inaccessible": S.DELIVERY_FAILED, "package_undeliverable": S.DELIVERY_FAILED,
        "address_issue": S.EXCEPTION, "contact_carrier": S.EXCEPTION, "delayed": S.EXCEPTION,
        "package_held": S.EXCEPTION, "package_damaged": S.EXCEPTION, "package_disposed": S.EXCEPTION,
        "package_lost": S.EXCEPTION, "package_unclaimed": S.RETURNING, "return_to_sender": S.RETURNING,
        # Plans, not scans.
        "reschedule_delivery": NO_SCAN, "delivery_rescheduled": NO_SCAN, "delivery_scheduled": NO_SCAN,
    }  # fmt: skip

    def document(self, node: Mapping[str, Any]) -> type[Loose] | None:
        """A track has a number, and a history or a latest scan under Shippo's names."""
        return Track if "tracking_number" in node and "carrier" in node and _is_track(node) else None

    def told(self, document: Track) -> Iterator[Told]:
        """The history, or else the latest scan."""
        for each in document.tracking_history or [document.latest or TrackingStatus()]:
            codes = (each.status, each.substatus)
            code = best(self.statuses, *(codes if each.status in _FIRM else codes[::-1]))
            if code == "UNKNOWN" and each.text:  # unknown to Shippo; the carrier's text may say it
                code = None
            at = each.location or Place()
            where = place(country=at.country, province=at.state, city=at.city)
            yield Told(document.carrier, document.number, each.at, first(each.text), code, where)


def _is_track(node: Mapping[str, Any]) -> bool:
    latest = node.get("tracking_status")
    return isinstance(node.get("tracking_history"), list) or (isinstance(latest, dict) and "status_date" in latest)
