from typing import Any

from schemas.events import WaybillReplaced
from tests.schemas.carriers.saying import events, faults, places, read, said, statuses, told

NUMBER = "884300000000000017"


def trace(time: str, text: str, **more: object) -> dict[str, object]:
    return {"time": time, "ftime": time, "context": text, **more}


def history(*traces: dict[str, object], **more: object) -> dict[str, Any]:
    return {
        "message": "ok",
        "nu": NUMBER,
        "ischeck": "0",
        "com": "yuantong",
        "status": "200",
        "state": "0",
        "data": [*traces],
    } | more


def push(*traces: dict[str, object], **more: object) -> dict[str, Any]:
    return {"status": "polling", "billstatus": "got", "message": "", "lastResult": history(*traces)} | more


STORY = (
    trace("2026-03-03 16:00:00", "客户 签收人 :本人签收 已签收 感谢使用圆通速递，期待再次为您服务"),
    trace("2026-03-03 08:00:00", "【杭州市西湖区公司】 派件人 :张三 派件中 派件员电话13800000000"),
    trace("2026-03-02 20:00:00", "【苏州转运中心】 已发出 下一站 【杭州转运中心公司】"),
    trace("2026-03-01 18:30:00", "【江苏省苏州市园区公司】 已收件"),
)
TOLD = [
    f"03-01 18:30:00 picked_up yto {NUMBER}",
    f"03-02 20:00:00 departed_facility yto {NUMBER}",
    f"03-03 08:00:00 out_for_delivery yto {NUMBER}",
    f"03-03 16:00:00 delivered yto {NUMBER}",
]


def test_a_push_tells_the_whole_history_in_the_carriers_zone_whatever_its_order() -> None:
    assert told(push(*STORY)) == told(push(*reversed(STORY))) == told(history(*STORY)) == TOLD


def test_a_history_in_an_apps_own_envelope_or_in_a_list_is_found() -> None:
    assert told({"code": 1, "result": {"express": history(*STORY)}}) == TOLD
    assert told([push(*STORY)]) == TOLD


def test_a_longer_history_repeats_the_facts_of_the_shorter_one() -> None:
    shorter = {said(event) + str(event) for event in events(push(*STORY[2:]))}
    assert shorter < {said(event) + str(event) for event in events(push(*STORY))}


def test_a_push_without_any_scan_tells_nothing_and_is_no_fault() -> None:
    assert told(push()) == []
    assert told({"status": "abort", "message": "3天查询无记录", "lastResult": {"nu": NUMBER, "com": ""}}) == []
    assert told({"result": False, "returnCode": "500", "message": "查询无结果，请隔段时间再查"}) == []


def test_the_states_of_the_parcel_are_no_scans() -> None:
    """What the aggregator derives from elapsed time is nobody's movement."""
    assert told(push(STORY[-1], status="shutdown", billstatus="check") | {"state": "202"}) == TOLD[:1]
    assert told(push(trace("2026-03-09 00:00:00", "快件已超过5天没有更新物流信息", statusCode="202"))) == []
    assert told(push(trace("2026-03-09 00:00:00", "有疑问请联系商家", statusCode="202"))) == []


def test_basic_state_1_is_no_proof_of_a_pickup() -> None:
    assert statuses(push(trace("2026-03-01 10:00:00", "【苏州】 的 某某网点 已接单", status="揽收"))) == [
        "info_received"
    ]
    assert statuses(push(trace("2026-03-01 10:00:00", "包裹已有着落", status="揽收", statusCode="1"))) == ["in_transit"]
    assert statuses(push(trace("2026-03-01 10:00:00", "包裹已有着落", status="已揽收", statusCode="103"))) == [
        "picked_up"
    ]


def test_a_text_wins_over_its_code() -> None:
    contradiction = trace("2026-03-01 10:00:00", "快件已由西门店代收，请及时取件", status="在途", statusCode="0")
    assert statuses(push(contradiction)) == ["available_for_pickup"]
    assert statuses(push(trace("2026-03-01 10:00:00", "快件运输中", statusCode="301"))) == ["in_transit"]
    assert statuses(push(trace("2026-03-01 10:00:00", "快件运输中", statusCode="1001"))) == ["arrived_at_facility"]
    assert statuses(push(trace("2026-03-01 10:00:00", "包裹已有着落", statusCode="204"))) == ["delivery_failed"]


def test_a_corrected_carrier_takes_its_uploads_along() -> None:
    corrected = push(*STORY[-2:], autoCheck="1", comOld="zhongtong", comNew="yuantong")
    assert told(corrected) == [TOLD[0], f"03-01 18:30:00 replaced zto {NUMBER} -> yto {NUMBER}", TOLD[1]]
    again = push(*STORY, autoCheck="1", comOld="zhongtong", comNew="yuantong")
    assert set(map(str, events(corrected))) < set(map(str, events(again)))
    assert told(push(*STORY[-1:], autoCheck="0", comOld="", comNew="")) == TOLD[:1]


def test_a_signature_that_is_a_transfer_leads_on_to_the_new_number() -> None:
    gone = trace("2026-03-03 16:00:00", "已签收,签收人是: 转EMS1130000000017")
    assert told(push(gone)) == [
        f"03-03 16:00:00 forwarded yto {NUMBER}",
        f"03-03 16:00:00 replaced yto {NUMBER} -> ems 1130000000017",
    ]
    kinds = {event.kind for event in events(push(gone)) if isinstance(event, WaybillReplaced)}
    assert kinds == {"transfer"}
    back = trace("2026-03-03 16:00:00", "快件已退回/转寄,新单号为: 884300000000000099")
    assert told(push(back)) == [f"03-03 16:00:00 returning yto {NUMBER}"]
    assert told(push(trace("2026-03-03 16:00:00", "已转中通，电话 13800000000"))) == [
        f"03-03 16:00:00 forwarded yto {NUMBER}"
    ]


def test_the_leg_abroad_is_the_same_parcels() -> None:
    abroad = {"nu": "RX000000017CN", "com": "auspost", "data": [trace("2026-03-09 10:00:00", "已签收")]}
    assert told(push(STORY[-1], destResult=abroad)) == [TOLD[0], f"03-09 10:00:00 delivered yto {NUMBER}"]


def test_sentinel_dates_mean_that_nothing_happened() -> None:
    for date in ("1970-01-01 08:00:00", "2000-01-01 00:00:00", "0001-01-01 00:00:00", "0000-00-00 00:00:00"):
        assert told(push(trace(date, "已签收"), STORY[-1])) == TOLD[:1]


def test_scans_of_one_second_stay_apart() -> None:
    at = "2026-03-01 18:30:00"
    both = events(push(trace(at, "快件到达 【苏州转运中心】"), trace(at, "快件在【苏州转运中心】卸车")))
    assert len({str(event) for event in both}) == 2


def test_a_scan_that_cannot_be_read_does_not_take_the_others_with_it() -> None:
    reading = read(push(trace("昨天", "已签收"), STORY[-1], {"time": "2026-03-03 16:00:00"}))
    assert [said(event) for event in reading.events] == TOLD[:1]
    assert reading.faults == [
        "lastResult.data.0.time: must be a time such as 2026-11-11 09:30:00, got '昨天'",
        "lastResult.data.2.context: missing",
    ]


def test_what_is_missing_is_named() -> None:
    assert faults({"a": {"data": [STORY[-1]], "com": "yuantong"}}) == ["a.nu: missing, or empty"]
    assert faults(push(*STORY) | {"lastResult": history(*STORY) | {"com": ""}}) == ["lastResult.com: missing, or empty"]


def test_a_placeholder_is_refused() -> None:
    assert faults(history(*STORY, nu="111111111111")) == [
        "nu: 111111111111 is a placeholder, under which strangers' parcels are mixed"
    ]


def test_the_place_is_what_the_payload_gives_in_parts() -> None:
    traces = (
        trace("2026-03-01 01:00:00", "已收入", areaName="山东,济南市,历城区,孙村"),
        trace("2026-03-01 02:00:00", "已收入", areaName="天津"),
        trace("2026-03-01 03:00:00", "已收入", areaName="北京,海淀区"),
        trace("2026-03-01 04:00:00", "已收入", areaName="上海,上海市,青浦区"),
        trace("2026-03-01 05:00:00", "已收入", location="安徽合肥分拨中心", areaName=None),
        trace("2026-03-01 06:00:00", "已收入", location=""),
    )
    assert places(push(*traces)) == [
        {"province": "山东", "city": "济南市", "district": "历城区"},
        {"province": "天津", "city": "天津"},
        {"province": "北京", "city": "北京", "district": "海淀区"},
        {"province": "上海", "city": "上海市", "district": "青浦区"},
        {"facility": "安徽合肥分拨中心"},
        {},
    ]


def test_the_older_answer_names_the_carrier_otherwise() -> None:
    older = {"companytype": "yuantong", "nu": NUMBER, "data": [STORY[-1]]}
    assert told(older) == TOLD[:1]
