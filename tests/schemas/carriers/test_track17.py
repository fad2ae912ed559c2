import json
from copy import deepcopy
from typing import Any

import pytest

from schemas.carriers import AUTO, convert
from schemas.events import RejectedError
from tests.schemas.carriers.abroad import TRACK17, TRACK17_V1, check_real
from tests.schemas.carriers.saying import faults, places, statuses, told

NUMBER = "LX000000017CN"
PICKED_UP = f"03-01 18:30:00 picked_up chinapost {NUMBER}"


def answer(*events: dict[str, Any], **more: object) -> dict[str, Any]:
    """An answer to gettrackinfo, with the events of one provider."""
    info = {"tracking": {"providers": [{"provider": {"key": 3011}, "events": [*events]}]}} | more
    parcel = {"number": NUMBER, "carrier": 3011, "param": None, "track_info": info}
    return {"code": 0, "data": {"accepted": [parcel], "rejected": []}}


def event(sub_status: str | None, stage: str | None = None, text: str | None = None) -> dict[str, Any]:
    return {"time_iso": "2026-03-01T18:30:00+08:00", "description": text, "stage": stage, "sub_status": sub_status}


def test_a_push_tells_what_all_carriers_of_a_parcel_have_told() -> None:
    assert told(TRACK17) == [PICKED_UP, f"03-09 17:00:00 delivered chinapost {NUMBER}"]
    assert places(TRACK17)[0] == {"country": "CN", "province": "Jiangsu", "city": "Suzhou", "text": "SUZHOU"}


def test_the_order_of_events_is_all_one() -> None:
    later = event("InTransit_Departure") | {"time_iso": "2026-03-02T20:00:00+08:00"}
    first = event("InTransit_PickedUp")
    assert told(answer(first, later)) == told(answer(later, first))


@pytest.mark.parametrize(
    "times",
    [
        {"time_iso": "2026-03-01T18:30:00+08:00", "time_utc": None},
        {"time_iso": "2026-03-01T18:30:00", "time_utc": "2026-03-01T10:30:00Z"},
        {"time_iso": None, "time_utc": "2026-03-01T10:30:00Z"},
        {"time_iso": None, "time_raw": {"date": "2026-03-01", "time": "12:30:00", "timezone": "+02:00"}},
        {"time_iso": "", "time_raw": {"date": "2026-03-01", "time": "18:30:00", "timezone": None}},
        {
            "time_iso": "2026-03-01T18:30:00",
            "time_raw": {"date": "2026-03-01", "time": "12:30:00", "timezone": "+02:00"},
        },
    ],
)
def test_the_time_with_a_zone_counts_and_else_the_origins(times: dict[str, Any]) -> None:
    assert told(answer(event("InTransit_PickedUp") | times)) == [PICKED_UP]


def test_a_mere_day_is_its_beginning_and_no_time_is_no_scan() -> None:
    raw = {"time_iso": None, "time_raw": {"date": "2026-03-01", "time": None}}
    assert told(answer(event("InTransit_PickedUp") | raw))[0].startswith("03-01 00:00:00")
    assert told(answer(event("InTransit_PickedUp") | {"time_iso": None})) == []
    assert told(answer(event("InTransit_PickedUp") | {"time_iso": "1970-01-01T00:00:00Z"})) == []


@pytest.mark.parametrize(
    ("sub_status", "stage", "meant"),
    [
        ("InfoReceived", "InfoReceived", "info_received"),
        ("InTransit_PickedUp", None, "picked_up"),
        ("InTransit_Other", None, "in_transit"),
        ("InTransit_Other", "PickedUp", "picked_up"),
        ("InTransit_Departure", None, "departed_facility"),
        ("InTransit_Arrival", None, "arrived_at_facility"),
        ("InTransit_CustomsReleased", None, "customs"),
        ("AvailableForPickup_Other", None, "available_for_pickup"),
        ("OutForDelivery_Other", None, "out_for_delivery"),
        ("DeliveryFailure_NoBody", None, "delivery_failed"),
        ("Delivered_Other", None, "delivered"),
        ("Exception_Damage", None, "exception"),
        ("Exception_Returning", None, "returning"),
        ("Exception_Returned", None, "returned"),
        ("Exception_Cancel", None, "cancelled"),
        ("InTransit_NeverHeardOf", "Departure", "departed_facility"),
        ("Delivered_NeverHeardOf", None, "delivered"),
        (None, "Returned", "returned"),
        (None, None, "in_transit"),
    ],
)
def test_codes_mean(sub_status: str | None, stage: str | None, meant: str) -> None:
    assert statuses(answer(event(sub_status, stage))) == [meant]


def test_what_is_derived_from_time_is_no_scan() -> None:
    assert statuses(answer(event("Expired_Other"), event("NotFound_Other"))) == []


def test_a_text_wins_over_its_code() -> None:
    assert statuses(answer(event("InTransit_PickedUp", "PickedUp", "Shipping label created"))) == ["info_received"]


def test_the_latest_event_counts_where_there_is_no_other() -> None:
    latest = event("InTransit_PickedUp")
    assert told(answer(latest_event=latest)) == [PICKED_UP]
    assert told(answer(latest, latest_event={"time_iso": "nonsense"})) == [PICKED_UP]
    assert told(answer(latest_event=None)) == []


def test_version_1_has_local_times_and_short_names() -> None:
    departed = f"03-02 20:00:00 departed_facility chinapost {NUMBER}"
    assert told(TRACK17_V1) == [PICKED_UP, departed]
    assert places(TRACK17_V1)[0] == {"text": "SUZHOU"}
    latest: Any = deepcopy(TRACK17_V1)
    latest["data"]["accepted"][0]["track"]["z1"] = []
    assert told(latest) == [departed]


def test_a_carrier_that_is_not_named_is_that_of_the_first_part() -> None:
    nameless: Any = deepcopy(TRACK17)
    nameless["data"]["carrier"] = 0
    assert told(nameless)[0] == PICKED_UP
    del nameless["data"]["track_info"]["tracking"]["providers"][0]["provider"]
    del nameless["data"]["track_info"]["tracking"]["providers"][1]["provider"]
    assert faults(nameless) == ["data.carrier: missing, or empty"]
    old: Any = deepcopy(TRACK17_V1)
    old["data"]["accepted"][0]["carrier"] = None
    old["data"]["accepted"][0]["track"]["w1"] = 3011
    assert told(old)[0] == PICKED_UP


def test_version_1_is_also_seen_with_other_letters() -> None:
    other: Any = deepcopy(TRACK17_V1)
    other["data"]["accepted"][0]["track"] = {
        "z0": {},
        "z1": [{"d": "2026-03-01T18:30:00", "a": "SUZHOU", "c": "Picked up"}],
    }
    assert told(other) == [PICKED_UP]
    assert places(other) == [{"text": "SUZHOU"}]


def test_refused_numbers_and_the_end_of_tracking_tell_nothing() -> None:
    refused = {"number": NUMBER, "error": {"code": -18019902, "message": "register first"}}
    assert told({"code": 0, "data": {"accepted": [], "rejected": [refused]}}) == []
    assert told({"code": 0, "data": {"accepted": [{"number": NUMBER, "carrier": 3011}], "rejected": []}}) == []
    assert told({"event": "TRACKING_STOPPED", "data": {"number": NUMBER, "carrier": 3011, "tag": None}}) == []


def test_faults_name_the_field() -> None:
    broken = answer(event("InTransit_PickedUp") | {"time_iso": "soon"}, event("Delivered_Other"))
    path = "data.accepted.0.track_info.tracking.providers.0.events.0.time_iso"
    assert faults(broken) == [f"{path}: must be a time such as 2026-11-11 09:30:00, got 'soon'"]
    assert [scan.type for scan in convert(json.dumps(broken).encode(), AUTO).events] == ["scan"]
    nameless = answer(event("Delivered_Other"))
    nameless["data"]["accepted"][0]["number"] = "12345678"
    assert faults(nameless)[0].startswith("data.accepted.0.number: 12345678 is a placeholder")
    with pytest.raises(RejectedError, match="no known format"):
        told({"number": NUMBER, "track_info": "none"})


def test_real_payloads() -> None:
    check_real(
        "track17",
        {
            "17track/api-evangelist__get-track-info.json": "idao",
            "17track/api-evangelist__webhook-push-payload.json": "oD",
            "17track/godely__gettrackinfo_exception_returning.json": "r",
            "17track/godely__gettrackinfo_yanwen_190012.json": "adp",
            "17track/shields__seventeentrack_test.json": "Ddpi",
        },
    )
