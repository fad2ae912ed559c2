from typing import Any

import pytest

from tests.schemas.carriers.abroad import FEDEX
from tests.schemas.carriers.saying import faults, places, statuses, told

NUMBER = "880000000017"


def scan(
    code: str | None = None, text: str | None = None, exception: str | None = None, **more: object
) -> dict[str, Any]:
    own = {"date": "2026-03-01T05:30:00-05:00", "eventType": code, "eventDescription": text}
    return own | {"exceptionDescription": exception} | more


def result(*events: dict[str, Any]) -> dict[str, Any]:
    return {"trackingNumberInfo": {"trackingNumber": NUMBER}, "scanEvents": [*events]}


def test_an_answer_tells_all_scans() -> None:
    assert told(FEDEX) == [f"03-01 18:30:00 picked_up fedex {NUMBER}"]
    assert places(FEDEX) == [{"country": "US", "province": "NY", "city": "ONEIDA"}]


def test_a_number_that_is_not_known_tells_nothing() -> None:
    unknown = {"trackingNumberInfo": {"trackingNumber": NUMBER}, "error": {"code": "TRACKING.TRACKINGNUMBER.NOTFOUND"}}
    assert told({"output": {"completeTrackResults": [{"trackingNumber": NUMBER, "trackResults": [unknown]}]}}) == []


@pytest.mark.parametrize(
    ("code", "meant"),
    [
        ("OC", "info_received"),
        ("PU", "picked_up"),
        ("IT", "in_transit"),
        ("AR", "arrived_at_facility"),
        ("DP", "departed_facility"),
        ("CC", "customs"),
        ("OD", "out_for_delivery"),
        ("HL", "available_for_pickup"),
        ("DL", "delivered"),
        ("DE", "delivery_failed"),
        ("SE", "exception"),
        ("RS", "returning"),
        ("CA", "cancelled"),
        ("??", "in_transit"),
    ],
)
def test_codes_mean(code: str, meant: str) -> None:
    assert statuses(result(scan(code))) == [meant]


def test_a_text_wins_over_its_code_and_an_exception_is_part_of_it() -> None:
    assert statuses(result(scan("PU", "Shipment information sent to FedEx"))) == ["info_received"]
    assert statuses(result(scan("SE", "Shipment exception", "Unable to deliver"))) == ["delivery_failed"]


def test_faults_name_the_field() -> None:
    assert faults({"output": result(scan(date="soon"))})[0].startswith("output.scanEvents.0.date: must be a time")
    assert told(result(scan(date=None), scan(date="1970-01-01T00:00:00Z"))) == []
