"""UPS: answers of its Tracking API, and Track Alert, which pushes one scan at a time."""

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from pydantic import Field, model_validator

from schemas.carriers._abroad import WORLD, Instant, Nothing, best
from schemas.carriers._contract import Adapter, Code, Loose, Rows, Status, Told, first, place
from schemas.events import ScanStatus as S


class Address(Loose):
    """Where a scan was."""

    city: str | None = None
    state: str | None = Field(None, validation_alias="stateProvince")
    country: str | None = None
    country_code: str | None = Field(None, validation_alias="countryCode")


class Place(Loose):
    """An address one level deeper."""

    address: Address | None = None


class State(Loose):
    """What a scan says: `type` is its class, `code` UPS's own."""

    type: str | None = None
    code: str | None = None
    description: str | None = None


class Activity(Loose):
    """One scan. Day and hour are local, and in newer versions in Greenwich's time as well."""

    at: Instant = Field(None, validation_alias="date")
    status: State | None = None
    location: Place | None = None

    @model_validator(mode="before")
    @classmethod
    def _timed(cls, given: Any) -> Any:
        return (
            {**given, "date": _joined(given, ("gmtDate", "gmtTime"), ("date", "time"))} if _is_object(given) else given
        )


def _is_object(given: Any) -> bool:
    return isinstance(given, dict)


def _joined(given: Mapping[str, Any], *pairs: tuple[str, str]) -> str | None:
    """The first of the pairs of day (`20240112`) and hour (`154207`) that is there."""
    for day_key, hour_key in pairs:
        day, hour = str(given.get(day_key) or ""), str(given.get(hour_key) or "")
        if day:
            return f"{day.replace('-', '')}{hour.replace(':', '') or '000000'}"
    return None


class Package(Loose):
    """One parcel, newest scan first."""

    number: Code = Field(validation_alias="trackingNumber")
    activity: Rows[Activity] = Field(default=[])


class Alert(Loose):
    """One scan that was pushed."""

    number: Code = Field(validation_alias="trackingNumber")
    at: Instant = Field(None, validation_alias="gmtActivityDate")
    status: State | None = Field(None, validation_alias="activityStatus")
    location: Address | None = Field(None, validation_alias="activityLocation")

    @model_validator(mode="before")
    @classmethod
    def _timed(cls, given: Any) -> Any:
        pairs = (("gmtActivityDate", "gmtActivityTime"), ("localActivityDate", "localActivityTime"))
        return {**given, "gmtActivityDate": _joined(given, *pairs)} if _is_object(given) else given


class Ups(Adapter):
    """UPS, Tracking API and Track Alert.

    Where the time in Greenwich is missing, the local one is read as UTC: the answer does not tell the zone of the place.
    """

    zone = WORLD
    statuses: ClassVar[Mapping[str, Status]] = {
        # Classes.
        "M": S.INFO_RECEIVED, "MV": S.CANCELLED, "P": S.PICKED_UP, "I": S.IN_TRANSIT, "O": S.OUT_FOR_DELIVERY,
        "D": S.DELIVERED, "X": S.EXCEPTION, "RS": S.RETURNING, "DO": S.ARRIVED_AT_FACILITY,
        "DD": S.ARRIVED_AT_FACILITY, "W": S.IN_TRANSIT,
        # Codes that say more than their class. `OR` is the origin scan.
        "I/OR": S.PICKED_UP, "I/AR": S.ARRIVED_AT_FACILITY, "I/DP": S.DEPARTED_FACILITY, "I/OT": S.OUT_FOR_DELIVERY,
    }  # fmt: skip

    def document(self, node: Mapping[str, Any]) -> type[Loose] | None:
        """By the activities of a package, or the activity of an alert; an answer may hold only warnings."""
        if "trackingNumber" in node and isinstance(node.get("activity"), list):
            return Package
        if {"trackingNumber", "activityStatus"} <= node.keys():
            return Alert
        shipments = node.get("shipment")
        asked = [each for each in shipments if isinstance(each, dict)] if isinstance(shipments, list) else []
        known = bool(asked) and all("inquiryNumber" in each for each in asked)
        return Nothing if known and not any(each.get("package") for each in asked) else None

    def told(self, document: Package | Alert | Nothing) -> Iterator[Told]:
        """The scans."""
        if isinstance(document, Alert):
            yield self._scan(document.number, document.at, document.status, document.location)
        elif isinstance(document, Package):
            for each in document.activity:
                yield self._scan(
                    document.number, each.at, each.status, each.location.address if each.location else None
                )

    def _scan(self, number: str, at: Any, status: State | None, address: Address | None) -> Told:
        status, address = status or State(), address or Address()
        code = best(self.statuses, f"{status.type}/{status.code}", status.type)
        where = place(country=first(address.country, address.country_code), province=address.state, city=address.city)
        return Told("ups", number, at, first(status.description), code, where)
