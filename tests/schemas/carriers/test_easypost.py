from typing import Any

import pytest

from tests.schemas.carriers.abroad import EASYPOST, check_real
from tests.schemas.carriers.saying import faults, places, statuses, told

NUMBER = "9400000000000000000017"


def detail(
    status: str | None, status_detail: str | None = None, text: str | None = None, **more: object
) -> dict[str, Any]:
    own = {"object": "TrackingDetail", "datetime": "2026-03-01T10:30:00Z", "message": text}
    return own | {"status": status, "status_detail": status_detail} | more


def tracker(*details: dict[str, Any], **more: object) -> dict[str, Any]:
    own = {"object": "Tracker", "tracking_code": NUMBER, "carrier": "USPS", "status": "delivered"}
    return own | {"tracking_details": [*details]} | more


def test_a_push_tells_the_details_and_not_the_status_of_the_parcel() -> None:
    assert told(EASYPOST) == [f"03-01 16:00:00 info_received usps {NUMBER}", f"03-01 18:30:00 picked_up usps {NUMBER}"]
    assert places(EASYPOST) == [{}, {"country": "US", "province": "NY", "city": "ONEIDA"}]


def test_trackers_are_found_alone_in_lists_and_in_shipments() -> None:
    picked_up = tracker(detail("in_transit", "received_at_origin_facility"))
    expected = [f"03-01 18:30:00 picked_up usps {NUMBER}"]
    assert told(picked_up) == expected
    assert told({"trackers": [picked_up, tracker()], "has_more": False}) == expected
    assert told({"shipments": [{"object": "Shipment", "tracking_code": NUMBER, "tracker": picked_up}]}) == expected
    assert told({"trackers": [], "has_more": False}) == []


def test_the_details_may_come_in_either_order() -> None:
    details = [detail("in_transit"), detail("delivered", datetime="2026-03-04T10:30:00Z")]
    assert told(tracker(*details)) == told(tracker(*details[::-1]))


@pytest.mark.parametrize(
    ("status", "status_detail", "meant"),
    [
        ("pre_transit", "status_update", "info_received"),
        ("pre_transit", "received_at_origin_facility", "info_received"),
        ("in_transit", "status_update", "in_transit"),
        ("in_transit", "unknown", "in_transit"),
        ("in_transit", "received_at_origin_facility", "picked_up"),
        ("in_transit", "arrived_at_destination", "arrived_at_facility"),
        ("in_transit", "departed_origin_facility", "departed_facility"),
        ("in_transit", "transferred_to_destination_carrier", "forwarded"),
        ("in_transit", "weather_delay", "exception"),
        ("out_for_delivery", "out_for_delivery", "out_for_delivery"),
        ("available_for_pickup", "arrived_at_pickup_location", "available_for_pickup"),
        ("delivered", "arrived_at_destination", "delivered"),
        ("return_to_sender", "return", "returning"),
        ("failure", "refused", "delivery_failed"),
        ("failure", None, "delivery_failed"),
        ("cancelled", "cancelled", "cancelled"),
        ("canceled", None, "cancelled"),
    ],
)
def test_statuses_mean(status: str, status_detail: str | None, meant: str) -> None:
    assert statuses(tracker(detail(status, status_detail))) == [meant]


def test_what_is_derived_or_unknown_is_no_scan_unless_the_carrier_says_something() -> None:
    assert statuses(tracker(detail("in_transit", "expired"), detail("error"), detail("unknown", "unknown"))) == []
    assert statuses(tracker(detail("unknown", "unknown", "Something"), detail("unknown", None, "Picked up"))) == [
        "in_transit",
        "picked_up",
    ]


def test_a_text_wins_over_its_code_and_the_description_stands_in_for_the_message() -> None:
    assert statuses(tracker(detail("in_transit", "arrived_at_facility", "Picked up"))) == ["picked_up"]
    assert statuses(tracker(detail("in_transit", None, "", description="Departed"))) == ["departed_facility"]


def test_a_carrier_that_is_not_named_may_be_known_all_the_same() -> None:
    assert told(tracker(detail("delivered"), carrier=None)) == [f"03-01 18:30:00 delivered usps {NUMBER}"]
    by_source = tracker(detail("delivered", source="FedEx"), carrier="", tracking_code="17")
    assert told(by_source) == ["03-01 18:30:00 delivered fedex 17"]
    assert faults(tracker(detail("delivered"), carrier=None, tracking_code="EZ1")) == [
        "carrier: missing, and neither the details nor the number tell it"
    ]
    assert told(tracker(carrier=None, tracking_code="EZ1")) == []


def test_sentinels_are_none_and_faults_name_the_field() -> None:
    assert told(tracker(detail("delivered", datetime="1970-01-01T00:00:00Z"), detail("delivered", datetime=None))) == []
    broken = {"result": tracker(detail("delivered"), detail("delivered", datetime="soon"))}
    assert faults(broken)[0].startswith("result.tracking_details.1.datetime: must be a time")
    assert faults(tracker(tracking_code=None))[0].startswith("tracking_code: must be a string")


def test_real_payloads() -> None:
    check_real(
        "easypost",
        {
            "easypost/EasyPost__create_tracker_response.json": "",  # names no carrier
            "easypost/EasyPost__event-body.json": "ipadtta",
            "easypost/EasyPost__shipments-label.json": "ii",
            "easypost/EasyPost__shipments-list.json": "ii",
            "easypost/EasyPost__test_tracker_all.json": "i" * 10,
            "easypost/EasyPost__test_tracker_create.json": "ii",
            "easypost/EasyPost__test_tracker_get_next_page.json": "i" * 10,
            "easypost/EasyPost__trackers-create.json": "ii",
            "easypost/EasyPost__tracking-webhook.json": "ipdaoD",
            "easypost/EasyPost__tracking_webhook_response.json": "ipdaoD",
            "easypost/shields__easypost.json": "i",
        },
    )
