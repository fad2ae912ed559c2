"""karrio: its tracking details, which are the same for all carriers, and its trackers, as answers and in pushes."""

import re
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, Final

from pydantic import Field, model_validator

from schemas.carriers._abroad import WORLD, Instant, best
from schemas.carriers._contract import Adapter, Code, Loose, Rows, Status, Told, first, place
from schemas.events import ScanStatus as S

_CLOCK: Final = re.compile(r"(\d{1,2}):(\d{2})(?::(\d{2}))?\s*(AM|PM)?", re.IGNORECASE)
_NOON: Final = 12


class TrackEvent(Loose):
    """One scan. `code` is the carrier's own; `status` is karrio's, of newer versions."""

    at: Instant = Field(None, validation_alias="date")
    text: str | None = Field(None, validation_alias="description")
    status: str | None = None
    location: str | None = None

    @model_validator(mode="before")
    @classmethod
    def _timed(cls, given: Any) -> Any:
        """Take the timestamp of newer versions, else put day and hour together."""
        if not isinstance(given, dict):
            return given
        date, time = given.get("timestamp") or given.get("date"), given.get("time")
        if given.get("timestamp") or not isinstance(date, str) or not isinstance(time, str):
            return {**given, "date": date}
        return {**given, "date": f"{date} {_clock(time.strip())}".strip()}


def _clock(text: str) -> str:
    """Write `02:30 PM` and `14:30 PM`, which both occur, as 14:30; what is no time stays as it is."""
    match = _CLOCK.fullmatch(text)
    if match is None or not match[4]:
        return text
    hour = int(match[1])
    if hour <= _NOON:
        hour = hour % _NOON + (_NOON if match[4].upper() == "PM" else 0)
    return f"{hour:02}:{match[2]}:{match[3] or '00'}"


class Details(Loose):
    """One parcel. Its `status` is the parcel's."""

    carrier: Code = Field(validation_alias="carrier_name")
    number: Code = Field(validation_alias="tracking_number")
    events: Rows[TrackEvent] = Field(default=[])


class Karrio(Adapter):
    """karrio, tracking details and trackers.

    Days and hours have no zone, and timestamps are marked as UTC, although karrio passes on what the carrier writes, which is
    local for most. They are read as UTC.
    """

    zone = WORLD
    statuses: ClassVar[Mapping[str, Status]] = {
        "pending": S.INFO_RECEIVED, "picked_up": S.PICKED_UP, "in_transit": S.IN_TRANSIT, "on_hold": S.EXCEPTION,
        "out_for_delivery": S.OUT_FOR_DELIVERY, "ready_for_pickup": S.AVAILABLE_FOR_PICKUP, "delivered": S.DELIVERED,
        "delivery_delayed": S.EXCEPTION, "delivery_failed": S.DELIVERY_FAILED, "return_to_sender": S.RETURNING,
        "cancelled": S.CANCELLED,
    }  # fmt: skip

    def document(self, node: Mapping[str, Any]) -> type[Loose] | None:
        """By the carrier's name, the name of its connection, and a list of events."""
        named = {"carrier_name", "carrier_id", "tracking_number"} <= node.keys()
        return Details if named and isinstance(node.get("events"), list) else None

    def told(self, document: Details) -> Iterator[Told]:
        """The scans."""
        for each in document.events:
            code = best(self.statuses, each.status)
            yield Told(document.carrier, document.number, each.at, first(each.text), code, place(text=each.location))
