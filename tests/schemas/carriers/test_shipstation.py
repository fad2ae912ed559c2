from typing import Any

import pytest

from tests.schemas.carriers.abroad import SHIPSTATION, check_real
from tests.schemas.carriers.saying import faults, places, statuses, told

NUMBER = "1Z0000000000000017"


def event(status: str | None = None, text: str | None = None, **more: object) -> dict[str, Any]:
    return {"occurred_at": "2026-03-01T10:30:00Z", "status_code": status, "description": text} | more


def tracking(*events: dict[str, Any], **more: object) -> dict[str, Any]:
    own = {"tracking_number": NUMBER, "status_code": "DE", "status_description": "Delivered", "carrier_code": "ups"}
    return own | {"events": [*events]} | more


def test_an_answer_or_a_push_tells_the_events_in_utc() -> None:
    assert told(SHIPSTATION) == [f"03-01 18:30:00 picked_up ups {NUMBER}"]
    assert places(SHIPSTATION) == [{"province": "NY", "city": "ONEIDA"}]
    assert told({"resource_type": "API_TRACK", "data": SHIPSTATION}) == told(SHIPSTATION)
    local = event("DE", occurred_at=None, carrier_occurred_at="2026-03-01T05:30:00")
    assert told(tracking(local)) == [f"03-01 13:30:00 delivered ups {NUMBER}"]


@pytest.mark.parametrize(
    ("status", "meant"),
    [
        ("NY", "info_received"),
        ("AC", "info_received"),
        ("IT", "in_transit"),
        ("SP", "available_for_pickup"),
        ("AT", "delivery_failed"),
        ("EX", "exception"),
        ("DE", "delivered"),
        ("de", "delivered"),
        (None, "in_transit"),
    ],
)
def test_statuses_mean(status: str | None, meant: str) -> None:
    assert statuses(tracking(event(status))) == [meant]


def test_the_unknown_is_no_scan_unless_the_carrier_says_something() -> None:
    assert statuses(tracking(event("UN"))) == []
    assert statuses(tracking(event("UN", "Departed UPS Facility"))) == ["departed_facility"]


def test_a_carrier_that_is_not_named_may_be_known_by_the_number() -> None:
    assert told(tracking(event("DE"), carrier_code="", tracking_number="9400000000000000000017")) == [
        "03-01 18:30:00 delivered usps 9400000000000000000017"
    ]
    assert faults(tracking(event("DE"), carrier_code=None, tracking_number="17")) == [
        "carrier_code: missing, and the number does not tell the carrier"
    ]
    assert faults({"data": tracking(event(occurred_at="soon"))})[0].startswith(
        "data.events.0.occurred_at: must be a time"
    )
    assert told(tracking(event("DE", occurred_at=""), event("DE", occurred_at="1970-01-01T00:00:00Z"))) == []


def test_real_payloads() -> None:
    check_real("shipstation", {"platform_docs/shipstation_v2_track_excerpt.json": "a"})
