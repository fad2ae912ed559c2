from tests.schemas.carriers.saying import faults, places, told

NUMBER = "SF1800000000017"


def test_a_route_push_tells_a_scan_each() -> None:
    routes = [
        {
            "mailno": NUMBER,
            "acceptTime": "2026-03-01 18:30:00",
            "acceptAddress": "苏州市",
            "remark": "顺丰速运 已收取快件",
            "opCode": "50",
        },
        {"mailno": NUMBER, "acceptTime": "2026-03-03 16:00:00", "acceptAddress": "杭州市", "remark": "", "opCode": 80},
    ]
    expected = [f"03-01 18:30:00 picked_up sf {NUMBER}", f"03-03 16:00:00 delivered sf {NUMBER}"]
    assert told({"Body": {"WaybillRoute": routes}}) == expected
    assert places({"Body": {"WaybillRoute": routes}}) == [{"text": "苏州市"}, {"text": "杭州市"}]


def test_an_answer_has_the_number_outside() -> None:
    routes = [{"acceptTime": "2026-03-02 06:00:00", "remark": "快件到达 【杭州中转场】", "opCode": "31"}]
    answer = {"success": True, "msgData": {"routeResps": [{"mailNo": NUMBER, "routes": routes}]}}
    assert told(answer) == [f"03-02 06:00:00 arrived_at_facility sf {NUMBER}"]
    assert told({"msgData": {"routeResps": [{"mailNo": NUMBER, "routes": []}]}}) == []


def test_an_uploaded_route_has_its_time_in_milliseconds() -> None:
    uploaded = [{"barScanTm": 1772361000000, "opCode": "54", "zoneCode": "512A", "waybillNo": NUMBER}]
    assert told(uploaded) == [f"03-01 18:30:00 picked_up sf {NUMBER}"]
    assert places(uploaded) == [{"facility": "512A"}]


def test_a_scan_without_a_number_is_a_fault() -> None:
    assert faults([{"scanDateTime": "2026-03-01 18:30:00", "opCode": "31", "remark": "快件到达"}]) == [
        "0.mailno: missing"
    ]


def test_the_text_wins_over_the_code() -> None:
    told_otherwise = {
        "mailno": NUMBER,
        "acceptTime": "2026-03-01 18:30:00",
        "remark": "应客户要求，快件正在转寄",
        "opCode": "80",
    }
    assert told([told_otherwise]) == [f"03-01 18:30:00 forwarded sf {NUMBER}"]
