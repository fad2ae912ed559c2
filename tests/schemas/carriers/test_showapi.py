from typing import Any

from tests.schemas.carriers.saying import faults, told

NUMBER = "471600000017"


def answer(*traces: tuple[str, str], **more: object) -> dict[str, Any]:
    data = [{"time": time, "context": text} for time, text in traces]
    body = {"data": data, "expSpellName": "shunfeng", "mailNo": NUMBER, "flag": True, "status": 4} | more
    return {"showapi_res_code": 0, "showapi_res_error": "", "showapi_res_body": body}


def test_forwarding_at_the_customers_wish_is_no_failed_delivery() -> None:
    story = [
        ("2026-03-09 09:00:00", "已签收,感谢使用顺丰,期待再次为您服务"),
        ("2026-03-02 14:00:00", "快件派送不成功(应客户要求,按新地址转寄),待转运"),
        ("2026-03-01 19:00:00", "顺丰速运 已收取快件"),
    ]
    assert told(answer(*story)) == [
        f"03-01 19:00:00 picked_up sf {NUMBER}",
        f"03-02 14:00:00 forwarded sf {NUMBER}",
        f"03-09 09:00:00 delivered sf {NUMBER}",
    ]


def test_an_answer_without_scans_tells_nothing_and_a_missing_carrier_is_a_fault() -> None:
    assert told(answer()) == []
    assert faults(answer(("2026-03-01 19:00:00", "已收件"), expSpellName=None)) == [
        "showapi_res_body.expSpellName: missing, or empty"
    ]
