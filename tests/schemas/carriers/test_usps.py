from typing import Any

import pytest

from tests.schemas.carriers.abroad import USPS, check_real
from tests.schemas.carriers.saying import faults, places, statuses, told

NUMBER = "9400000000000000000017"


def event(code: str | None = None, text: str | None = None, **more: object) -> dict[str, Any]:
    return {"eventType": text, "eventCode": code, "GMTTimestamp": "2026-03-01T10:30:00Z"} | more


def tracking(*events: dict[str, Any]) -> dict[str, Any]:
    return {"trackingNumber": NUMBER, "statusCategory": "Delivered", "trackingEvents": [*events]}


def test_an_answer_tells_all_events_and_not_the_status_of_the_parcel() -> None:
    assert told(USPS) == [f"03-01 18:30:00 picked_up usps {NUMBER}"]
    assert places(USPS) == [{"country": "US", "province": "NY", "city": "ONEIDA"}]
    assert told(tracking()) == []


def test_greenwichs_time_counts_and_else_the_local_one() -> None:
    local = {"GMTTimestamp": None, "eventTimestamp": "2026-03-01T05:30:00"}
    assert told(tracking(event("01", **local, GMTOffset="-05:00"))) == [f"03-01 18:30:00 delivered usps {NUMBER}"]
    assert told(tracking(event("01", **local))) == [f"03-01 13:30:00 delivered usps {NUMBER}"]
    assert told(tracking(event("01", GMTTimestamp=None), event("01", GMTTimestamp="1970-01-01T00:00:00Z"))) == []


@pytest.mark.parametrize(
    ("code", "meant"),
    [
        ("GX", "info_received"),
        ("03", "picked_up"),
        ("10", "in_transit"),
        ("07", "arrived_at_facility"),
        ("SF", "departed_facility"),
        ("OF", "out_for_delivery"),
        ("16", "available_for_pickup"),
        ("02", "delivery_failed"),
        ("01", "delivered"),
        ("09", "returning"),
        ("??", "in_transit"),
    ],
)
def test_codes_mean(code: str, meant: str) -> None:
    assert statuses(tracking(event(code))) == [meant]


def test_a_text_wins_over_its_code() -> None:
    assert statuses(tracking(event("10", "Held in Customs"))) == ["customs"]
    assert statuses(tracking(event("10", "In Transit, Arriving Late"))) == []


def test_faults_name_the_field() -> None:
    assert faults(tracking(event("10", GMTTimestamp="soon")))[0].startswith(
        "trackingEvents.0.GMTTimestamp: must be a time"
    )


def test_real_payloads() -> None:
    check_real("usps", {"karrio/usps__TrackingResponse.json": "Doaatttdadpi"})
