from typing import Any

import pytest

from tests.schemas.carriers.abroad import AFTERSHIP, check_real
from tests.schemas.carriers.saying import faults, places, statuses, told

NUMBER = "880000000017"


def tracking(*checkpoints: dict[str, Any], **more: object) -> dict[str, Any]:
    return {
        "id": "a1",
        "tracking_number": NUMBER,
        "slug": "fedex",
        "tag": "InTransit",
        "checkpoints": [*checkpoints],
    } | more


def checkpoint(tag: str | None, subtag: str | None = None, text: str | None = None, **more: object) -> dict[str, Any]:
    at = {"checkpoint_time": "2026-03-01T18:30:00+08:00"}
    return at | {"tag": tag, "subtag": subtag, "message": text, "slug": None} | more


PICKED_UP = f"03-01 18:30:00 picked_up fedex {NUMBER}"
ACCEPTED = checkpoint("InTransit", "InTransit_002")


def test_a_push_tells_the_checkpoints_and_not_the_tag_of_the_parcel() -> None:
    assert told(AFTERSHIP) == [PICKED_UP, f"03-02 20:00:00 departed_facility fedex {NUMBER}"]
    assert places(AFTERSHIP)[0] == {"country": "USA", "province": "NY", "city": "Oneida", "text": "Oneida, NY"}


@pytest.mark.parametrize(
    "payload",
    [
        {"meta": {"code": 200}, "data": {"tracking": tracking(ACCEPTED)}},
        {"meta": {"code": 200}, "data": tracking(ACCEPTED)},
        {"meta": {"code": 200}, "data": {"page": 1, "trackings": [tracking(ACCEPTED), tracking(slug="ups")]}},
        {"meta": {"code": 200}, "data": {"tracking_number": NUMBER, "slug": "fedex", "checkpoint": ACCEPTED}},
    ],
)
def test_answers_of_all_versions_are_recognised(payload: dict[str, Any]) -> None:
    assert told(payload) == [PICKED_UP]


def test_an_empty_list_tells_nothing() -> None:
    assert told({"meta": {"code": 200}, "data": {"page": 1, "count": 0, "trackings": []}}) == []
    assert told(tracking()) == told(tracking(checkpoints=None)) == []


def test_the_checkpoints_may_come_in_either_order() -> None:
    later = checkpoint("Delivered") | {"checkpoint_time": "2026-03-04T18:30:00+08:00"}
    assert told(tracking(ACCEPTED, later)) == told(tracking(later, ACCEPTED))


@pytest.mark.parametrize(
    ("time", "expected"),
    [
        ("2026-03-01T05:30:00-05:00", "03-01 18:30:00"),
        ("2026-03-01T10:30:00", "03-01 18:30:00"),
        ("2026-03-01", "03-01 08:00:00"),
    ],
)
def test_a_time_has_an_offset_or_is_utc_and_may_be_a_day(time: str, expected: str) -> None:
    assert told(tracking(checkpoint("Delivered") | {"checkpoint_time": time})) == [
        f"{expected} delivered fedex {NUMBER}"
    ]


@pytest.mark.parametrize("time", ["", None, "1970-01-01T00:00:00+00:00", "0001-01-01"])
def test_a_time_that_is_none_is_no_scan(time: str | None) -> None:
    assert told(tracking(checkpoint("Delivered") | {"checkpoint_time": time})) == []


@pytest.mark.parametrize(
    ("tag", "subtag", "meant"),
    [
        ("InfoReceived", "InfoReceived_001", "info_received"),
        ("InTransit", "InTransit_001", "in_transit"),
        ("InTransit", "InTransit_002", "picked_up"),
        ("InTransit", "InTransit_003", "arrived_at_facility"),
        ("InTransit", "InTransit_005", "customs"),
        ("InTransit", "InTransit_007", "departed_facility"),
        ("InTransit", "InTransit_009", "forwarded"),
        ("InTransit", "InTransit_999", "in_transit"),
        ("OutForDelivery", None, "out_for_delivery"),
        ("AttemptFail", "AttemptFail_002", "delivery_failed"),
        ("Delivered", "Delivered_005", "delivered"),
        ("AvailableForPickup", "AvailableForPickup_001", "available_for_pickup"),
        ("Exception", "Exception_001", "exception"),
        ("Exception", "Exception_003", "delivery_failed"),
        ("Exception", "Exception_004", "customs"),
        ("Exception", "Exception_010", "returning"),
        ("Exception", "Exception_011", "returned"),
        ("Exception", "Exception_020", "cancelled"),
        (None, "Delivered_001", "delivered"),
    ],
)
def test_tags_mean(tag: str | None, subtag: str | None, meant: str) -> None:
    assert statuses(tracking(checkpoint(tag, subtag))) == [meant]


def test_what_is_derived_from_time_or_set_by_hand_is_no_scan() -> None:
    assert statuses(tracking(checkpoint("Expired", "Expired_001"), checkpoint("Pending", "Pending_001"))) == []
    assert statuses(tracking(checkpoint("Delivered", "Delivered_001", "Delivered", source="user"))) == []
    assert statuses(tracking(checkpoint("Delivered", "Delivered_001", source="carrier"))) == ["delivered"]


def test_a_text_wins_over_its_tag() -> None:
    assert statuses(tracking(checkpoint("InTransit", "InTransit_007", "At local FedEx facility"))) == [
        "arrived_at_facility"
    ]
    assert statuses(tracking(checkpoint("InTransit", "InTransit_002", "Label created"))) == ["info_received"]


def test_faults_name_the_field() -> None:
    broken = {"data": {"tracking": tracking(ACCEPTED | {"checkpoint_time": "soon"})}}
    assert faults(broken)[0].startswith("data.tracking.checkpoints.0.checkpoint_time: must be a time")
    assert told(tracking(slug=None)) == []
    assert told(tracking(ACCEPTED | {"slug": "fedex"}, slug=None)) == [PICKED_UP]
    assert faults({"msg": tracking(ACCEPTED, slug="")}) == ["msg.slug: missing, or empty"]


def test_real_payloads() -> None:
    history = "ipadxadaaoD"
    check_real(
        "aftership",
        {
            "aftership/AfterShip__GetTrackingsResult.json": history,
            "aftership/AfterShip__UpdateTrackingResult.json": history,
            "aftership/AfterShip__test_tracking_2.json": "i",
            "aftership/ludeeus__get_trackings.json": history,
            "aftership/trendhim__trackings_test_3.json": "p",
        },
    )
