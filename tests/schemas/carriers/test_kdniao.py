from typing import Any

from tests.schemas.carriers.saying import faults, places, statuses, told

NUMBER = "773000000000017"


def trace(time: str, text: str, **more: object) -> dict[str, object]:
    return {"AcceptTime": time, "AcceptStation": text, "Remark": ""} | more


def history(*traces: dict[str, object], **more: object) -> dict[str, Any]:
    own = {"EBusinessID": "1500000", "ShipperCode": "STO", "LogisticCode": NUMBER, "Success": True, "State": "3"}
    return own | {"Traces": [*traces]} | more


def push(*histories: dict[str, object]) -> dict[str, Any]:
    return {
        "PushTime": "2026-03-03 16:05:00",
        "EBusinessID": "1500000",
        "Data": [*histories],
        "Count": str(len(histories)),
    }


STORY = (
    trace("2026-03-01 18:30:00", "江苏苏州园区公司-扫描7-已收件"),
    trace("2026-03-01 20:00:00", "江苏苏州园区公司-已装袋发往-浙江杭州转运中心"),
    trace("2026-03-02 23:00:00", "已到达-浙江杭州转运中心"),
    trace("2026-03-03 16:00:00", "已签收，签收人凭取货码签收。"),
)
TOLD = [
    f"03-01 18:30:00 picked_up sto {NUMBER}",
    f"03-01 20:00:00 departed_facility sto {NUMBER}",
    f"03-02 23:00:00 arrived_at_facility sto {NUMBER}",
    f"03-03 16:00:00 delivered sto {NUMBER}",
]


def test_pushes_and_answers_tell_the_same() -> None:
    assert told(push(history(*STORY))) == told(history(*STORY)) == told(history(*reversed(STORY))) == TOLD


def test_every_parcel_of_a_push_is_told() -> None:
    other = history(STORY[0], LogisticCode="773000000000018", ShipperCode="YD")
    assert told(push(history(STORY[0]), other)) == [TOLD[0], "03-01 18:30:00 picked_up yunda 773000000000018"]


def test_keys_are_understood_in_the_spelling_of_any_library() -> None:
    camel = {
        "logisticCode": NUMBER,
        "shipperCode": "STO",
        "traces": [{"acceptTime": "2026-03-01 18:30:00", "acceptStation": "已收件"}],
    }
    snake = {"d": {"logistic_code": NUMBER, "shipper_name": "申通快递", "state": "3", "traces": [STORY[0]]}}
    assert told(camel) == told(snake) == TOLD[:1]


def test_a_parcel_without_any_scan_tells_nothing() -> None:
    assert told(push(history(State="0", Reason="暂无轨迹信息"))) == told(push()) == told(history(Traces=None)) == []
    assert told({"EBusinessID": "1", "Success": False, "Reason": "该运单号没有轨迹"}) == []


def test_the_codes_mean_something_else_than_kuaidi100s() -> None:
    def coded(action: str) -> list[str]:
        return statuses(history(trace("2026-03-01 18:30:00", "包裹已有着落", Action=action)))

    assert coded("10") == ["info_received"]  # there: waiting for customs
    assert coded("201") == ["arrived_at_facility"]  # there: not signed for in time
    assert coded("202") == ["out_for_delivery"]  # there: no update in time
    assert coded("403") == coded("402") == coded("401") == []
    assert coded("999") == ["in_transit"]


def test_times_may_lack_their_blank_or_their_seconds_or_have_slashes() -> None:
    told_at = [
        trace(time, "已收件")
        for time in ("2026-03-0118:30:00", "2026/03/01 18:30", "2026-03-01T18:30:00.000", "2026-3-1 18:30:0")
    ]
    assert told(history(*told_at)) == TOLD[:1] * 4


def test_a_number_without_parcel_and_a_placeholder_are_refused() -> None:
    assert faults(history(*STORY, LogisticCode="")) == ["LogisticCode: missing, or empty"]
    assert faults(push(history(*STORY, ShipperCode=None))) == ["Data.0.ShipperCode: missing, or empty"]
    assert faults(history(*STORY, LogisticCode="12345678")) == [
        "LogisticCode: 12345678 is a placeholder, under which strangers' parcels are mixed"
    ]


def test_one_faulty_parcel_of_a_push_does_not_take_the_others_with_it() -> None:
    mixed = push(history(*STORY, LogisticCode="12345678"), history(trace("2026-13-01 00:00:00", "已收件"), STORY[0]))
    assert faults(mixed) == [
        "Data.0.LogisticCode: 12345678 is a placeholder, under which strangers' parcels are mixed",
        "Data.1.Traces.0.AcceptTime: is a time that does not exist, got '2026-13-01 00:00:00'",
    ]


def test_the_city_is_taken_where_it_is_given() -> None:
    assert places(history(trace("2026-03-01 18:30:00", "已收件", Location="苏州市"))) == [{"city": "苏州市"}]
