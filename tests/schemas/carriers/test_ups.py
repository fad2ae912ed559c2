from typing import Any

import pytest

from tests.schemas.carriers.abroad import UPS, check_real
from tests.schemas.carriers.saying import faults, places, statuses, told

NUMBER = "1Z0000000000000017"


def activity(kind: str, code: str = "", text: str = "", **more: object) -> dict[str, Any]:
    status = {"type": kind, "code": code, "description": text}
    return {"date": "20260301", "time": "103000", "status": status} | more


def package(*activities: dict[str, Any]) -> dict[str, Any]:
    shipment = {"inquiryNumber": NUMBER, "package": [{"trackingNumber": NUMBER, "activity": [*activities]}]}
    return {"trackResponse": {"shipment": [shipment]}}


ALERT = {
    "trackingNumber": NUMBER,
    "localActivityDate": "20260301",
    "localActivityTime": "053000",
    "gmtActivityDate": "20260301",
    "gmtActivityTime": "103000",
    "activityLocation": {"city": "Oneida", "stateProvince": "NY", "country": "US"},
    "activityStatus": {"type": "D", "code": "F4", "description": "DELIVERED"},
}


def test_an_answer_tells_all_activities_and_an_alert_its_own() -> None:
    assert told(UPS) == [f"03-01 18:30:00 departed_facility ups {NUMBER}"]
    assert told(ALERT) == [f"03-01 18:30:00 delivered ups {NUMBER}"]
    assert places(UPS) == places(ALERT) == [{"country": "US", "province": "NY", "city": "Oneida"}]
    assert told([ALERT, ALERT | {"gmtActivityDate": ""}])[0] == f"03-01 13:30:00 delivered ups {NUMBER}"


def test_an_answer_without_a_parcel_tells_nothing() -> None:
    nothing = {"inquiryNumber": NUMBER, "warnings": [{"code": "TW0001", "message": "Tracking Information Not Found"}]}
    assert told({"trackResponse": {"shipment": [nothing]}}) == []
    assert told(package()) == []


@pytest.mark.parametrize(
    ("kind", "code", "meant"),
    [
        ("M", "MP", "info_received"),
        ("MV", "", "cancelled"),
        ("P", "PU", "picked_up"),
        ("I", "OR", "picked_up"),
        ("I", "AR", "arrived_at_facility"),
        ("I", "DP", "departed_facility"),
        ("I", "??", "in_transit"),
        ("O", "", "out_for_delivery"),
        ("D", "FS", "delivered"),
        ("X", "A1", "exception"),
        ("RS", "", "returning"),
        ("??", "", "in_transit"),
    ],
)
def test_codes_mean(kind: str, code: str, meant: str) -> None:
    assert statuses(package(activity(kind, code))) == [meant]


def test_a_text_wins_over_its_code() -> None:
    assert statuses(package(activity("X", "SR", "Released by the customs agency"))) == ["customs"]


def test_faults_name_the_field() -> None:
    path = "trackResponse.shipment.0.package.0.activity.0.date"
    assert faults(package(activity("I", date="soon")))[0].startswith(f"{path}: must be a time")
    assert told(package(activity("I", date=None), activity("I", date="19700101"))) == []


def test_real_payloads() -> None:
    check_real("ups", {"karrio/ups__TrackingResponseJSON.json": "c", "platform_docs/ups_track_alert_event.json": "t"})
