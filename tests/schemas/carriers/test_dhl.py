from typing import Any

import pytest

from tests.schemas.carriers.abroad import DHL, MYDHL
from tests.schemas.carriers.saying import faults, places, statuses, told

NUMBER = "8800000017"
PICKED_UP = f"03-01 18:30:00 picked_up dhl {NUMBER}"


def unified(*events: dict[str, Any]) -> dict[str, Any]:
    return {"shipments": [{"id": NUMBER, "service": "parcel-de", "events": [*events]}]}


def express(*events: dict[str, Any]) -> dict[str, Any]:
    return {"shipments": [{"shipmentTrackingNumber": NUMBER, "events": [*events]}]}


def test_both_answers_tell_all_scans() -> None:
    assert told(DHL) == told(MYDHL) == [PICKED_UP]
    assert places(DHL) == [{"country": "CN", "text": "SUZHOU - CHINA"}]
    assert places(MYDHL) == [{"text": "Suzhou-CN"}]
    assert told(express()) == []


def test_a_time_without_an_offset_is_read_as_utc() -> None:
    assert told(unified({"timestamp": "2026-03-01T10:30:00", "statusCode": "delivered"}))[0].startswith(
        "03-01 18:30:00"
    )
    assert told(express({"date": "2026-03-01", "time": "10:30:00", "typeCode": "OK"}))[0].startswith("03-01 18:30:00")


@pytest.mark.parametrize(
    ("code", "meant"),
    [
        ("pre-transit", "info_received"),
        ("transit", "in_transit"),
        ("delivered", "delivered"),
        ("failure", "exception"),
        ("unknown", "in_transit"),
        ("PU", "picked_up"),
        ("AF", "arrived_at_facility"),
        ("DF", "departed_facility"),
        ("RR", "customs"),
        ("WC", "out_for_delivery"),
        ("NH", "delivery_failed"),
        ("RT", "returning"),
    ],
)
def test_codes_mean(code: str, meant: str) -> None:
    assert statuses(unified({"timestamp": "2026-03-01T10:30:00Z", "statusCode": code})) == [meant]
    assert statuses(express({"date": "2026-03-01", "time": "10:30:00", "typeCode": code})) == [meant]


def test_a_text_wins_over_its_code() -> None:
    own = {"timestamp": "2026-03-01T10:30:00Z", "statusCode": "transit"}
    assert statuses(unified(own | {"description": "The instruction data for this shipment have been provided"})) == [
        "info_received"
    ]
    assert statuses(unified(own | {"description": "", "status": "Arrived at hub"})) == ["arrived_at_facility"]


def test_faults_name_the_field() -> None:
    assert faults(unified({"timestamp": "soon"}))[0].startswith("shipments.0.events.0.timestamp: must be a time")
    assert faults(express({"date": "soon"}))[0].startswith("shipments.0.events.0.date: must be a time")
    assert told(express({"date": None}, {"date": "1970-01-01", "time": "00:00:00"})) == []
