"""17TRACK: webhook pushes and answers to gettrackinfo, of versions 2.x and, with their one-letter fields, of version 1."""

import re
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, Final

from pydantic import Field, model_validator

from schemas.carriers._abroad import Instant, Nothing, best, unless_told
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

_ZONED: Final = re.compile(r".*\d\s*(Z|UTC|[+-]\d{2}:?\d{2})", re.IGNORECASE)
_WRITTEN: Final = re.compile(r"\d{4}-\d")
_NONE: Final = "0"
"""What 17TRACK writes for a carrier that it does not know."""


class Address(Loose):
    """Where an event was, as far as 17TRACK has understood it."""

    country: str | None = None
    state: str | None = None
    city: str | None = None


class TrackEvent(Loose):
    """One scan. `sub_status` is 17TRACK's reading of the text, `stage` its milestone, which most scans do not have."""

    at: Instant = Field(None, validation_alias="time_iso")
    description: str | None = None
    sub_status: str | None = None
    stage: str | None = None
    location: str | None = None
    address: Address | None = None

    @model_validator(mode="before")
    @classmethod
    def _timed(cls, given: Any) -> Any:
        """Take the time that has a zone: of the local time, the one in UTC and the carrier's own, not every event has each."""
        if not isinstance(given, dict):
            return given
        times = [given.get("time_iso"), given.get("time_utc"), _raw(given.get("time_raw"))]
        told = [time for time in times if time]
        zoned = [time for time in told if isinstance(time, str) and _ZONED.fullmatch(time.strip())]
        return {**given, "time_iso": next(iter([*zoned, *told]), None)}


def _raw(parts: object) -> str | None:
    if not isinstance(parts, dict) or not parts.get("date"):
        return None
    zone = parts.get("timezone")
    offset = zone if isinstance(zone, str) and _ZONED.fullmatch(f"0{zone}") else ""
    return f"{parts['date']} {parts.get('time') or '00:00:00'}{offset}"


class Named(Loose):
    """A carrier, by 17TRACK's number for it."""

    key: str | None = None


class Provider(Loose):
    """One carrier's part of the history: the origin's, the destination's. Both tell of the same parcel."""

    provider: Named | None = None
    events: Rows[TrackEvent] = Field(default=[])


class Tracking(Loose):
    """All carriers' parts."""

    providers: Rows[Provider] = Field(default=[])


class TrackInfo(Loose):
    """The history. `latest_event` repeats one of the events; it counts where there are no others."""

    latest_event: TrackEvent | None = None
    tracking: Tracking | None = None

    @model_validator(mode="before")
    @classmethod
    def _once(cls, given: Any) -> Any:
        tracking = given.get("tracking") if isinstance(given, dict) else None
        providers = tracking.get("providers") if isinstance(tracking, dict) else None
        told = isinstance(providers, list) and any(isinstance(each, dict) and each.get("events") for each in providers)
        return unless_told(given, "latest_event", told=told)


class Parcel(Loose):
    """One parcel of an answer, or that of a push."""

    number: Code
    carrier: str | None = None
    info: TrackInfo = Field(validation_alias="track_info")

    def _providers(self) -> list[Provider]:
        return self.info.tracking.providers if self.info.tracking else []

    def events(self) -> list[TrackEvent]:
        """All scans, or the latest one."""
        events = [event for each in self._providers() for event in each.events]
        return events or ([self.info.latest_event] if self.info.latest_event else [])

    def carriers(self) -> list[str | None]:
        """Its carrier, and those of the parts."""
        return [self.carrier, *(each.provider.key for each in self._providers() if each.provider)]


class ShortEvent(Loose):
    """One scan of version 1: `a` the time, `c` the place, `z` the text; also seen with `d`, `a` and `c` for these."""

    at: Instant = Field(None, validation_alias="a")
    location: str | None = Field(None, validation_alias="c")
    description: str | None = Field(None, validation_alias="z")

    @model_validator(mode="before")
    @classmethod
    def _as_declared(cls, given: Any) -> Any:
        if isinstance(given, dict) and _is_time(given.get("d")) and not _is_time(given.get("a")):
            return {"a": given["d"], "c": given.get("a"), "z": given.get("c")}
        return given


def _is_time(value: object) -> bool:
    return isinstance(value, str) and bool(_WRITTEN.match(value))


class ShortTrack(Loose):
    """The history of version 1: `z0` is the latest event once more, the others the carriers' parts, `w1` the first of them."""

    w1: str | None = None
    z0: ShortEvent | None = None
    z1: Rows[ShortEvent] = Field(default=[])
    z2: Rows[ShortEvent] = Field(default=[])
    z9: Rows[ShortEvent] = Field(default=[])

    @model_validator(mode="before")
    @classmethod
    def _once(cls, given: Any) -> Any:
        told = isinstance(given, dict) and any(given.get(key) for key in ("z1", "z2", "z9"))
        return unless_told(given, "z0", told=told)


class ShortParcel(Loose):
    """One parcel of version 1."""

    number: Code
    carrier: str | None = None
    track: ShortTrack

    def events(self) -> list[ShortEvent]:
        """All scans, or the latest one."""
        events = [*self.track.z1, *self.track.z2, *self.track.z9]
        return events or ([self.track.z0] if self.track.z0 else [])

    def carriers(self) -> list[str | None]:
        """Its carrier, and that of the first part."""
        return [self.carrier, self.track.w1]


class Track17(Adapter):
    """17TRACK, webhook and gettrackinfo.

    Version 2 gives each time with its zone. Version 1 gives local times of wherever the scan was, and so do the few events of
    version 2 that have only a raw time; they are read as China's, which is right for the origin, where what the rules judge is.
    """

    zone = CHINA
    statuses: ClassVar[Mapping[str, Status]] = {
        "NotFound": NO_SCAN, "InfoReceived": S.INFO_RECEIVED, "InTransit": S.IN_TRANSIT, "Expired": NO_SCAN,
        "AvailableForPickup": S.AVAILABLE_FOR_PICKUP, "OutForDelivery": S.OUT_FOR_DELIVERY,
        "DeliveryFailure": S.DELIVERY_FAILED, "Delivered": S.DELIVERED, "Exception": S.EXCEPTION,
        # Stages.
        "PickedUp": S.PICKED_UP, "Departure": S.DEPARTED_FACILITY, "Arrival": S.ARRIVED_AT_FACILITY,
        "Returning": S.RETURNING, "Returned": S.RETURNED,
        # Sub-statuses that say more than their family; `InTransit_Other` says less than a stage does.
        "InTransit_PickedUp": S.PICKED_UP, "InTransit_Departure": S.DEPARTED_FACILITY,
        "InTransit_Arrival": S.ARRIVED_AT_FACILITY, "InTransit_CustomsProcessing": S.CUSTOMS,
        "InTransit_CustomsReleased": S.CUSTOMS, "InTransit_CustomsRequiringInformation": S.CUSTOMS,
        "Exception_Returning": S.RETURNING, "Exception_Returned": S.RETURNED, "Exception_Cancel": S.CANCELLED,
        "Exception_NoBody": S.EXCEPTION, "Exception_Security": S.EXCEPTION, "Exception_Damage": S.EXCEPTION,
        "Exception_Rejected": S.EXCEPTION, "Exception_Delayed": S.EXCEPTION, "Exception_Lost": S.EXCEPTION,
        "Exception_Destroyed": S.EXCEPTION,
    }  # fmt: skip

    def document(self, node: Mapping[str, Any]) -> type[Loose] | None:
        """A parcel has a `number` and its history; an answer may have refused all numbers, and a push may tell of the end."""
        if "number" in node:
            if isinstance(node.get("track_info"), dict):
                return Parcel
            track = node.get("track")
            return ShortParcel if isinstance(track, dict) and track.keys() & {"z0", "z1", "z2"} else None
        accepted = node.get("accepted")
        if isinstance(accepted, list) and "rejected" in node:
            return None if any(self._has_history(each) for each in accepted) else Nothing
        event = node.get("event")
        pushed = isinstance(event, str) and event.startswith("TRACKING_") and isinstance(node.get("data"), dict)
        return Nothing if pushed and not self._has_history(node["data"]) else None

    def _has_history(self, node: Any) -> bool:
        return isinstance(node, dict) and "number" in node and self.document(node) is not None

    def told(self, document: Parcel | ShortParcel | Nothing) -> Iterator[Told]:
        """The scans of all carriers that the parcel went through, under the carrier it was asked for."""
        if isinstance(document, Nothing):
            return
        events = document.events()
        if not events:
            return
        refuse_placeholder("number", document.number)
        carrier = first(*(key for key in document.carriers() if key != _NONE))
        if carrier is None:
            raise ValueError("carrier: missing, or empty")
        for event in events:
            if isinstance(event, ShortEvent):
                code, where = None, place(text=event.location)
            else:
                sub = event.sub_status or ""
                code = best(self.statuses, sub, event.stage, sub.partition("_")[0])
                at = event.address or Address()
                where = place(country=at.country, province=at.state, city=at.city, text=event.location)
            yield Told(carrier, document.number, event.at, first(event.description), code, where)
