from typing import Any

import pytest

from tests.schemas.carriers.abroad import SHIPPO, check_real
from tests.schemas.carriers.saying import faults, places, statuses, told

NUMBER = "9205500000000000000017"
PICKED_UP = f"03-01 18:30:00 picked_up usps {NUMBER}"


def scan(status: str | None, substatus: object = None, text: str | None = None, **more: object) -> dict[str, Any]:
    code = {"code": substatus, "text": "", "action_required": False} if isinstance(substatus, str) else substatus
    own = {"status": status, "substatus": code, "status_date": "2026-03-01T10:30:00Z", "status_details": text}
    return own | more


def track(*history: dict[str, Any], **more: object) -> dict[str, Any]:
    own = {"tracking_number": NUMBER, "carrier": "usps", "tracking_status": None, "tracking_history": [*history]}
    return own | more


ACCEPTED = scan("TRANSIT", "package_accepted")


def test_a_push_tells_the_history_once() -> None:
    assert told(SHIPPO) == [PICKED_UP]
    assert places(SHIPPO) == [{"country": "US", "province": "NY", "city": "Oneida"}]


def test_the_latest_scan_counts_where_there_is_no_history() -> None:
    assert told(track(tracking_status=ACCEPTED)) == [PICKED_UP]
    assert told({"tracking_number": NUMBER, "carrier": "usps", "tracking_status": ACCEPTED}) == [PICKED_UP]
    assert told(track(ACCEPTED, tracking_status=scan("TRANSIT", status_date="nonsense"))) == [PICKED_UP]
    assert told(track()) == []


def test_the_history_may_come_in_either_order() -> None:
    later = scan("DELIVERED", status_date="2026-03-04T10:30:00Z")
    assert told(track(ACCEPTED, later)) == told(track(later, ACCEPTED))


@pytest.mark.parametrize(
    ("status", "substatus", "meant"),
    [
        ("PRE_TRANSIT", "information_received", "info_received"),
        ("PRE_TRANSIT", None, "info_received"),
        ("TRANSIT", None, "in_transit"),
        ("TRANSIT", "other", "in_transit"),
        ("TRANSIT", "package_accepted", "picked_up"),
        ("TRANSIT", "package_arrived", "arrived_at_facility"),
        ("TRANSIT", "package_departed", "departed_facility"),
        ("TRANSIT", "out_for_delivery", "out_for_delivery"),
        ("TRANSIT", "pickup_available", "available_for_pickup"),
        ("TRANSIT", "delivery_attempted", "delivery_failed"),
        ("TRANSIT", "package_held", "exception"),
        ("TRANSIT", "package_forwarded", "forwarded"),
        ("DELIVERED", "information_received", "delivered"),
        ("RETURNED", "return_to_sender", "returning"),
        ("FAILURE", "package_undeliverable", "delivery_failed"),
        ("FAILURE", "package_lost", "exception"),
        ("FAILURE", None, "exception"),
    ],
)
def test_statuses_mean(status: str, substatus: str | None, meant: str) -> None:
    assert statuses(track(scan(status, substatus))) == [meant]


def test_plans_and_the_unknown_are_no_scans_and_a_text_wins_over_its_code() -> None:
    assert statuses(track(scan("UNKNOWN"), scan("TRANSIT", "delivery_scheduled"))) == []
    assert statuses(track(scan("UNKNOWN", None, "Picked up by carrier"))) == ["picked_up"]
    assert statuses(track(scan("TRANSIT", "package_accepted", "Shipping label created"))) == ["info_received"]


def test_faults_name_the_field() -> None:
    broken = {"data": track(ACCEPTED, scan("TRANSIT", status_date="soon"))}
    assert faults(broken)[0].startswith("data.tracking_history.1.status_date: must be a time")
    assert faults(track(ACCEPTED, carrier=" ")) == ["carrier: must not be empty"]
    assert told(track(scan("TRANSIT", status_date=None), scan("TRANSIT", status_date="1970-01-01T00:00:00Z"))) == []


def test_real_payloads() -> None:
    check_real("shippo", {"shippo/shields__shippo.json": "D"})
