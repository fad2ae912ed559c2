from tests.schemas.carriers.saying import faults, statuses, told

AT = 1772361000  # 2026-03-01 18:30 in China


def waybill(status: int, text: str, **more: object) -> dict[str, object]:
    own = {
        "ewaybill_order_id": 1,
        "waybill_id": "78000000000001",
        "delivery_id": "ZTO",
        "update_time": AT,
        "status": status,
        "desc": text,
    }
    return {
        "ToUserName": "gh_1",
        "CreateTime": AT + 5,
        "MsgType": "event",
        "Event": "ewaybill_push_path",
        "waybill_info": own | more,
    }


def test_a_waybills_new_state_is_a_scan() -> None:
    assert told(waybill(1, "您的快件已由网点揽收完成")) == ["03-01 18:30:00 picked_up zto 78000000000001"]


def test_where_the_state_contradicts_the_text_the_text_is_right() -> None:
    assert statuses(waybill(1, "您的快件已签收")) == ["delivered"]
    assert statuses(waybill(5, "快件运输中")) == ["in_transit"]
    assert statuses(waybill(9, "快递员已将快件从快递柜中取出")) == ["in_transit"]
    assert statuses(waybill(9, "客户已从快递柜取件")) == ["delivered"]
    assert statuses(waybill(1, "")) == ["picked_up"]


def test_a_time_that_means_none_is_no_scan() -> None:
    assert told(waybill(1, "揽收", update_time=0)) == told(waybill(1, "揽收", update_time=1231231)) == []


def test_without_a_carrier_the_number_may_tell_it() -> None:
    assert told(waybill(1, "", delivery_id=None, waybill_id="YT0000000000017"))[0].endswith("yto YT0000000000017")
    assert faults(waybill(1, "", delivery_id=None)) == [
        "waybill_info.delivery_id: missing, and the number does not tell the carrier"
    ]


def test_a_track_comes_whole_with_each_push_and_as_an_answer() -> None:
    actions = [(100001, "小哥揽件成功"), (200001, "到达广州集包地"), (300003, "签收成功")]
    pushed = {
        "MsgType": "event", "Event": "add_express_path", "DeliveryID": "SF", "WayBillId": "SF1", "Version": 3, "Count": 3,
        "Actions": [{"ActionTime": AT + i, "ActionType": kind, "ActionMsg": text} for i, (kind, text) in enumerate(actions)],
    }  # fmt: skip
    items = [{"action_time": AT + i, "action_type": kind, "action_msg": text} for i, (kind, text) in enumerate(actions)]
    answered = {"delivery_id": "SF", "waybill_id": "SF1", "path_item_num": 3, "path_item_list": items}
    assert told(pushed) == told(answered)
    assert statuses(pushed) == ["picked_up", "arrived_at_facility", "delivered"]


def test_a_click_on_shipped_names_no_waybill_and_tells_nothing() -> None:
    assert told({"Event": "channels_ec_order_deliver", "order_info": {"order_id": 1, "finish_delivery": 1}}) == []
