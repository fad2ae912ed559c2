from typing import Any

import pytest

from tests.schemas.carriers.abroad import KARRIO
from tests.schemas.carriers.saying import faults, places, statuses, told


def details(*events: dict[str, Any], **more: object) -> dict[str, Any]:
    own = {"carrier_id": "mine", "carrier_name": "dhl_express", "tracking_number": "17", "status": "delivered"}
    return own | {"events": [*events]} | more


def event(status: str | None = None, **more: object) -> dict[str, Any]:
    return {"date": "2026-03-01", "description": "X", "status": status} | more


def test_the_details_are_recognised_alone_and_in_answers() -> None:
    assert told(KARRIO) == ["03-01 18:30:00 picked_up dhl 8800000017"]
    assert places(KARRIO) == [{"text": "SUZHOU, CN"}]
    assert told({"event": "tracker.updated", "data": details(event("delivered"))}) == [
        "03-01 08:00:00 delivered dhl 17"
    ]
    assert told({"results": [details(), details()]}) == []


@pytest.mark.parametrize(
    ("time", "expected"),
    [
        ("02:30 PM", "22:30:00"),
        ("14:30 PM", "22:30:00"),
        ("14:30", "22:30:00"),
        ("12:15 AM", "08:15:00"),
        ("00:15 AM", "08:15:00"),
        ("12:15 PM", "20:15:00"),
        ("9:05:07 am", "17:05:07"),
        (None, "08:00:00"),
    ],
)
def test_hours_come_in_two_notations_that_are_mixed(time: str | None, expected: str) -> None:
    assert told(details(event("in_transit", time=time))) == [f"03-01 {expected} in_transit dhl 17"]


def test_a_timestamp_wins() -> None:
    stamped = event("in_transit", time="09:00", timestamp="2026-03-01T10:30:00.000Z")
    assert told(details(stamped)) == ["03-01 18:30:00 in_transit dhl 17"]


@pytest.mark.parametrize(
    ("status", "meant"),
    [
        ("pending", "info_received"),
        ("picked_up", "picked_up"),
        ("in_transit", "in_transit"),
        ("out_for_delivery", "out_for_delivery"),
        ("ready_for_pickup", "available_for_pickup"),
        ("delivered", "delivered"),
        ("delivery_failed", "delivery_failed"),
        ("delivery_delayed", "exception"),
        ("on_hold", "exception"),
        ("return_to_sender", "returning"),
        ("cancelled", "cancelled"),
        ("unknown", "in_transit"),
        (None, "in_transit"),
    ],
)
def test_statuses_mean(status: str | None, meant: str) -> None:
    assert statuses(details(event(status))) == [meant]


def test_a_text_wins_over_its_status_and_tells_it_where_there_is_none() -> None:
    assert statuses(details(event("picked_up", description="Label created"))) == ["info_received"]
    assert statuses(details(event(description="Arrived at hub"))) == ["arrived_at_facility"]


def test_faults_name_the_field() -> None:
    assert faults({"tracking": details(event(time="soon"))})[0].startswith("tracking.events.0.date: must be a time")
    assert faults(details(carrier_name="")) == ["carrier_name: must not be empty"]
    assert told(details(event(date=None), event(date="1970-01-01"))) == []
