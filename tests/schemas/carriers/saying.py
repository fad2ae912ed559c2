"""What tests of adapters share: reading a made-up payload, and telling what came out of it in a few words."""

import json
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from schemas.carriers import AUTO, Reading, convert
from schemas.events import Event, Scan, WaybillReplaced

CHINA = ZoneInfo("Asia/Shanghai")


def read(payload: object, name: str = AUTO, recorded_at: datetime | None = None) -> Reading:
    """A payload, as JSON unless it is bytes already."""
    value = payload if isinstance(payload, bytes) else json.dumps(payload, ensure_ascii=False).encode()
    return convert(value, name, recorded_at)


def events(payload: object, name: str = AUTO) -> list[Event]:
    """The events of a payload that has no faults, in order of time."""
    reading = read(payload, name)
    assert reading.faults == []
    return sorted(reading.events, key=lambda event: (event.occurred_at, str(event)))


def told(payload: object, name: str = AUTO) -> list[str]:
    """The events in words: local time, then what, whose, and where to."""
    return [said(event) for event in events(payload, name)]


def said(event: Event) -> str:
    at = event.occurred_at.astimezone(CHINA).strftime("%m-%d %H:%M:%S")
    match event:
        case Scan():
            return f"{at} {event.status} {event.carrier} {event.waybill_no}"
        case WaybillReplaced():
            return f"{at} replaced {event.carrier} {event.waybill_no} -> {event.new_carrier} {event.new_waybill_no}"
    raise AssertionError(event)


def faults(payload: object, name: str = AUTO) -> list[str]:
    return read(payload, name).faults


def statuses(payload: object, name: str = AUTO) -> list[str]:
    return [event.status for event in events(payload, name) if isinstance(event, Scan)]


def places(payload: object, name: str = AUTO) -> list[dict[str, Any]]:
    found = [event.location for event in events(payload, name) if isinstance(event, Scan)]
    return [where.model_dump(exclude_none=True) if where else {} for where in found]
