from typing import Any

import pytest

from tests.schemas.carriers.abroad import TRACKINGMORE
from tests.schemas.carriers.saying import faults, places, statuses, told

NUMBER = "YT2600000000000017"


def scan(status: str | None, substatus: str | None = None, text: str | None = None, **more: object) -> dict[str, Any]:
    own = {"checkpoint_date": "2026-03-01 18:30:00", "tracking_detail": text}
    return own | {"checkpoint_delivery_status": status, "checkpoint_delivery_substatus": substatus} | more


def tracking(*origin: dict[str, Any], **more: object) -> dict[str, Any]:
    own = {"tracking_number": NUMBER, "courier_code": "usps", "delivery_status": "transit", "destination_info": None}
    return own | {"origin_info": {"courier_code": "usps", "trackinfo": [*origin]}} | more


def test_a_push_tells_both_parts() -> None:
    assert told(TRACKINGMORE) == [
        f"03-01 18:30:00 picked_up yunexpress {NUMBER}",
        f"03-02 20:00:00 departed_facility yunexpress {NUMBER}",
    ]
    assert places(TRACKINGMORE) == [{"country": "CN", "city": "Suzhou"}, {"text": "Shanghai,CN"}]
    abroad = {"courier_code": "dhl", "trackinfo": [scan("delivered", checkpoint_date="2026-03-09T10:00:00+01:00")]}
    assert told({"code": 200, "data": [tracking(destination_info=abroad)]}) == [
        f"03-09 17:00:00 delivered usps {NUMBER}"
    ]


def test_version_2_spells_its_fields_in_another_way() -> None:
    old = {
        "Date": "2026-03-01 18:30",
        "StatusDescription": "Picked up",
        "Details": "SUZHOU",
        "checkpoint_status": "transit",
    }
    item = {"tracking_number": NUMBER, "carrier_code": "yunexpress", "status": "transit"}
    payload = {"meta": {"code": 200}, "data": {"items": [item | {"origin_info": {"trackinfo": [old]}}]}}
    assert told(payload) == [f"03-01 18:30:00 picked_up yunexpress {NUMBER}"]
    assert places(payload) == [{"text": "SUZHOU"}]


@pytest.mark.parametrize(
    ("status", "substatus", "meant"),
    [
        ("inforeceived", "inforeceived001", "info_received"),
        ("notfound", "notfound001", "info_received"),
        ("transit", "transit001", "in_transit"),
        ("transit", "transit002", "arrived_at_facility"),
        ("transit", "transit005", "customs"),
        ("transit", "transit006", "departed_facility"),
        ("pickup", "pickup001", "out_for_delivery"),
        ("pickup", "pickup002", "available_for_pickup"),
        ("delivered", "delivered002", "delivered"),
        ("undelivered", "undelivered003", "delivery_failed"),
        ("exception", "exception007", "exception"),
        ("exception", "exception008", "cancelled"),
        ("exception", "exception009", "delivery_failed"),
        ("exception", "exception010", "returned"),
        ("exception", "exception011", "returning"),
    ],
)
def test_statuses_mean(status: str, substatus: str, meant: str) -> None:
    assert statuses(tracking(scan(status, substatus))) == [meant]


def test_what_is_derived_from_time_is_no_scan() -> None:
    assert (
        statuses(tracking(scan("expired", "expired001"), scan("pending", "pending001"), scan("notfound", None))) == []
    )


def test_no_history_tells_nothing_and_a_text_wins_over_its_code() -> None:
    assert told(tracking()) == told(tracking(origin_info=None)) == told(tracking(origin_info={"trackinfo": None})) == []
    assert statuses(tracking(scan("transit", "transit001", "Label created"))) == ["info_received"]


def test_faults_name_the_field() -> None:
    broken = {"data": tracking(scan("transit", checkpoint_date="soon"))}
    assert faults(broken)[0].startswith("data.origin_info.trackinfo.0.checkpoint_date: must be a time")
    assert faults(tracking(scan("transit"), tracking_number="11111111"))[0].startswith("tracking_number: 11111111 is a")
    assert (
        told(tracking(scan("transit", checkpoint_date=""), scan("transit", checkpoint_date="1970-01-01 00:00"))) == []
    )
