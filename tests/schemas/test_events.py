import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from schemas.events import EVENT_TYPES, RejectedError, ScanStatus, json_schema, parse

NOON = "2026-11-11T12:00:00+08:00"
EVENTS: dict[str, dict[str, Any]] = {
    "order_paid": {"order_id": "O1", "platform": "douyin", "merchant_id": "M1"},
    "waybill_uploaded": {"order_id": "O1", "carrier": "sf", "waybill_no": "SF1"},
    "scan": {"carrier": "sf", "waybill_no": "SF1", "status": "picked_up"},
    "order_cancelled": {"order_id": "O1"},
    "address_changed": {"order_id": "O1", "address": {"text": "广东省深圳市南山区科技路1号"}},
    "exemption_granted": {"order_id": "O1", "rules": ["*"]},
    "waybill_replaced": {"carrier": "sf", "waybill_no": "SF1", "new_carrier": "yto", "new_waybill_no": "YT1"},
    "aftersale_opened": {"order_id": "O1", "aftersale_id": "A1", "kind": "resend"},
    "aftersale_answered": {"order_id": "O1", "aftersale_id": "A1", "answer": "agreed"},
    "return_waybill_uploaded": {"order_id": "O1", "aftersale_id": "A1", "carrier": "sf", "waybill_no": "SF2"},
    "return_received": {"order_id": "O1", "aftersale_id": "A1"},
    "refunded": {"order_id": "O1", "aftersale_id": "A1"},
    "resend_shipped": {"order_id": "O1", "aftersale_id": "A1", "carrier": "sf", "waybill_no": "SF3"},
    "aftersale_closed": {"order_id": "O1", "aftersale_id": "A1"},
}
NOT_BY_ITSELF = {("exemption_granted", "order_id")}
"""Fields that are required only where no other of their kind is given."""


def message(of_type: str = "scan", /, **fields: object) -> bytes:
    return json.dumps({"type": of_type, "occurred_at": NOON} | EVENTS[of_type] | fields).encode()


def complaint(value: bytes, recorded_at: datetime | None = None) -> str:
    with pytest.raises(RejectedError) as caught:
        parse(value, recorded_at)
    return str(caught.value)


def test_every_type_is_read_from_its_required_fields_alone() -> None:
    for kind in EVENT_TYPES:
        event = parse(message(kind))
        assert event.type == kind
        assert event.occurred_at == datetime(2026, 11, 11, 4, tzinfo=UTC)


def test_every_required_field_is_missed_by_name() -> None:
    for kind, fields in EVENTS.items():
        for field in (*fields, "occurred_at"):
            if (kind, field) in NOT_BY_ITSELF:
                continue
            told = json.loads(message(kind))
            del told[field]
            assert complaint(json.dumps(told).encode()) == f"{field}: missing"


def test_every_identifier_is_refused_when_it_is_empty_too_long_null_a_number_or_has_a_nul() -> None:
    for kind, fields in EVENTS.items():
        for field in fields:
            if field in {"status", "address", "rules", "kind", "answer"}:
                continue
            assert complaint(message(kind, **{field: ""})) == f"{field}: must not be empty"
            assert complaint(message(kind, **{field: 7})) == f"{field}: must be a string, got 7"
            if (kind, field) not in NOT_BY_ITSELF:
                assert complaint(message(kind, **{field: None})) == f"{field}: must be a string, got null"
            assert "must not contain a NUL character" in complaint(message(kind, **{field: "a\0b"}))
            assert f"{field}: must have at most 128 characters, got 'x" in complaint(
                message(kind, **{field: "x" * 129})
            )
            assert getattr(parse(message(kind, **{field: "中" * 128})), field) == "中" * 128


def test_an_exemption_names_whose_it_is_and_a_period_that_does_not_run_backwards() -> None:
    assert complaint(message("exemption_granted", order_id=None)) == (
        "order_id, platform, merchant_id or region must say whose exemption it is"
    )
    for scope in ("platform", "merchant_id", "region"):
        assert parse(message("exemption_granted", order_id=None, **{scope: "x"}))
    assert parse(message("exemption_granted", applies_from=NOON, applies_until=NOON))
    backwards = message("exemption_granted", applies_from=NOON, applies_until="2026-11-11T11:59:59.999999+08:00")
    assert complaint(backwards) == "applies_until must not be before applies_from"


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-11-11T12:00:00+08:00", datetime(2026, 11, 11, 4, tzinfo=UTC)),
        ("2026-11-11t12:00:00z", datetime(2026, 11, 11, 12, tzinfo=UTC)),
        ("2026-11-11 12:00:00Z", datetime(2026, 11, 11, 12, tzinfo=UTC)),
        ("2026-11-11T12:00:00-00:00", datetime(2026, 11, 11, 12, tzinfo=UTC)),
        ("2026-11-11T12:00:00.5-03:30", datetime(2026, 11, 11, 15, 30, 0, 500_000, tzinfo=UTC)),
        ("2026-11-11T12:00:00.123456999Z", datetime(2026, 11, 11, 12, 0, 0, 123_456, tzinfo=UTC)),
        ("2026-11-11T12:00:00+23:59", datetime(2026, 11, 10, 12, 1, tzinfo=UTC)),
        ("2024-02-29T00:00:00Z", datetime(2024, 2, 29, tzinfo=UTC)),
        ("0001-01-01T00:00:00Z", datetime(1, 1, 1, tzinfo=UTC)),
        ("9999-01-01T00:00:00+00:01", datetime(9998, 12, 31, 23, 59, tzinfo=UTC)),
    ],
)
def test_times_are_read_as_rfc_3339_and_cut_at_the_microsecond(text: str, moment: datetime) -> None:
    assert parse(message(occurred_at=text)).occurred_at == moment


@pytest.mark.parametrize(
    ("value", "fault"),
    [
        ("2026-11-11T12:00:00", "needs an offset such as +08:00"),
        ("2026-11-11", "must be a time such as"),
        ("2026-11-11T12:00Z", "must be a time such as"),
        ("2026-11-11T12:00:00+0800", "must be a time such as"),
        ("2026-11-11T12:00:00+24:00", "must be a time such as"),
        ("2026-11-11T12:00:00.Z", "must be a time such as"),
        (" 2026-11-11T12:00:00Z", "must be a time such as"),
        ("2026-11-11T12:00:00Z\n", "must be a time such as"),
        ("２０２６-11-11T12:00:00Z", "must be a time such as"),
        ("1762833600", "must be a time such as"),
        (1762833600, "must be a time such as"),
        (True, "must be a time such as"),
        (None, "must be a time such as"),
        ("2026-02-29T00:00:00Z", "is a time that does not exist"),
        ("2026-13-01T00:00:00Z", "is a time that does not exist"),
        ("2026-11-11T24:00:00Z", "must be a time such as"),
        ("2026-12-31T23:59:60Z", "is a time that does not exist"),
        ("0000-01-01T00:00:00Z", "is a time that does not exist"),
        ("0001-01-01T00:00:00+00:01", "must be in the years 1 to 9998"),
        ("9999-01-01T00:00:00Z", "must be in the years 1 to 9998"),
        ("9999-12-31T23:59:59-08:00", "must be in the years 1 to 9998"),
    ],
)
def test_a_time_that_is_not_one_is_refused_in_every_time_field(value: object, fault: str) -> None:
    assert complaint(message(occurred_at=value)).startswith(f"occurred_at: {fault}")
    if value is not None:
        assert complaint(message(received_at=value)).startswith(f"received_at: {fault}")
        assert complaint(message("exemption_granted", extended_to=value)).startswith(f"extended_to: {fault}")


@pytest.mark.parametrize(
    ("kind", "fields", "fault"),
    [
        (
            "order_paid",
            {"amount": "-1"},
            "amount: must be a plain decimal number of at least 0, such as \"12.50\", got '-1'",
        ),
        ("order_paid", {"amount": "1e3"}, "amount: must be a plain decimal"),
        ("order_paid", {"amount": "NaN"}, "amount: must be a plain decimal"),
        ("order_paid", {"amount": ".5"}, "amount: must be a plain decimal"),
        ("order_paid", {"amount": "5."}, "amount: must be a plain decimal"),
        ("order_paid", {"amount": "1\n"}, "amount: must be a plain decimal"),
        ("order_paid", {"amount": "１"}, "amount: must be a plain decimal"),
        ("order_paid", {"amount": ""}, "amount: must be a plain decimal"),
        ("order_paid", {"amount": 12.5}, "amount: must be a string, got 12.5"),
        ("order_paid", {"amount": "1" * 41}, "amount: must have at most 40 characters"),
        ("order_paid", {"ship_within_hours": 0}, "ship_within_hours: must be from 1 to 2160, got 0"),
        ("order_paid", {"ship_within_hours": 2161}, "ship_within_hours: must be from 1 to 2160, got 2161"),
        ("order_paid", {"ship_within_hours": 10**50}, "ship_within_hours: must be from 1 to 2160, got a huge number"),
        ("order_paid", {"ship_within_hours": 48.0}, "ship_within_hours: must be a whole number, got 48.0"),
        ("order_paid", {"ship_within_hours": "48"}, "ship_within_hours: must be a whole number, got '48'"),
        ("order_paid", {"ship_within_hours": True}, "ship_within_hours: must be a whole number, got true"),
        ("order_paid", {"recipient": "王小明"}, "recipient: must be an object"),
        ("order_paid", {"recipient": {"phone": 13812345678}}, "recipient.phone: must be a string"),
        ("order_paid", {"address": {"city": ["深圳市"]}}, "address.city: must be a string, got a list"),
        ("scan", {"status": "lost"}, "status: is unknown, got 'lost'"),
        ("scan", {"status": "PICKED_UP"}, "status: is unknown, got 'PICKED_UP'"),
        ("scan", {"status": 3}, "status: is unknown, got 3"),
        ("scan", {"location": "深圳市"}, "location: must be an object, got '深圳市'"),
        ("scan", {"location": {"text": {}}}, "location.text: must be a string, got an object"),
        ("scan", {"description": False}, "description: must be a string, got false"),
        ("scan", {"event_id": ""}, "event_id: must not be empty"),
        ("address_changed", {"address": {}}, "address: must give at least one part of an address"),
        (
            "address_changed",
            {"address": {"text": "", "city": None}},
            "address: must give at least one part of an address",
        ),
        ("address_changed", {"address": None}, "address: must be an object, got null"),
        ("exemption_granted", {"rules": []}, "rules: must not be empty"),
        ("exemption_granted", {"rules": "*"}, "rules: must be a list, got '*'"),
        ("exemption_granted", {"rules": ["*", ""]}, "rules.1: must not be empty"),
        ("exemption_granted", {"rules": [None]}, "rules.0: must be a string, got null"),
    ],
)
def test_a_faulty_field_is_named_with_what_is_wrong(kind: str, fields: dict[str, object], fault: str) -> None:
    assert complaint(message(kind, **fields)).startswith(fault)


@pytest.mark.parametrize(
    ("value", "fault"),
    [
        (b"", "empty message"),
        (b" \n", "empty message"),
        (b"[]", "not a JSON object, got a list"),
        (b'"scan"', "not a JSON object, got 'scan'"),
        (b"{", "not valid JSON: EOF while parsing an object at line 1 column 1"),
        (message() + b"}", "not valid JSON: trailing characters"),
        (b"\xef\xbb\xbf" + message(), "not valid JSON"),
        (b"\xff" + message(), "not valid JSON"),
        (message(extra="x").replace(b'"x"', b'"\\ud800"'), "not valid JSON"),
        (message(extra=0).replace(b": 0", b": " + b"[" * 100_000 + b"]" * 100_000), "not valid JSON: recursion limit"),
        (b"{}", "type: missing"),
        (b'{"type": null}', "type: is unknown, got null"),
        (b'{"type": "order_payed"}', "type: is unknown, got 'order_payed'"),
        (b'{"type": ["scan"]}', "type: is unknown, got a list"),
    ],
)
def test_what_is_no_event_at_all_is_said_to_be_so(value: bytes, fault: str) -> None:
    assert complaint(value).startswith(fault)


def test_all_faulty_fields_are_named_and_values_of_a_recipient_are_not_quoted() -> None:
    text = complaint(
        b'{"type": "order_paid", "order_id": "O1", "platform": "", "amount": "x", "recipient": {"phone": 13812345678}}'
    )
    assert [fault.split(":")[0] for fault in text.split("; ")] == [
        "occurred_at", "platform", "merchant_id", "amount", "recipient.phone",
    ]  # fmt: skip
    assert "138" not in text


def test_complaints_stay_short_however_large_the_value() -> None:
    huge = "x" * 10_000_000
    for kind, field in [("scan", "carrier"), ("scan", "status"), ("scan", "occurred_at"), ("order_paid", "amount")]:
        assert len(complaint(message(kind, **{field: huge}))) < 250
    assert len(complaint(message("exemption_granted", rules=[5] * 1_000_000))) < 250
    assert len(complaint(message(type=huge))) < 250
    worst = {"type": "order_paid"} | dict.fromkeys(
        [field for field in EVENT_TYPES["order_paid"].model_fields if field != "type"], "\x01" * 10_000
    )
    assert len(complaint(json.dumps(worst).encode())) < 4_000


def test_optional_fields_may_be_null_and_an_empty_text_is_none() -> None:
    paid = json.loads(message("order_paid"))
    nulls = dict.fromkeys(["event_id", "received_at", "amount", "ship_within_hours", "recipient", "address"])
    assert parse(json.dumps(paid | nulls).encode()) == parse(message("order_paid"))
    assert parse(message(description="", location={"text": "", "city": "\0"})) == parse(message(location={}))
    assert parse(message(description="a\0b")).model_dump()["description"] == "ab"


def test_unknown_fields_are_ignored_and_of_a_repeated_key_the_last_counts() -> None:
    assert parse(message(weight_kg=1.5, trace={"span": [1, None]})) == parse(message())
    assert parse(message()[:-1] + b', "carrier": "yto"}') == parse(message(carrier="yto"))


def test_received_at_defaults_to_the_record_then_to_occurred_at() -> None:
    recorded_at = datetime(2026, 11, 11, 5, tzinfo=UTC)
    assert parse(message(received_at="2026-11-11T06:00:00Z"), recorded_at).received_at == recorded_at + timedelta(
        hours=1
    )
    assert parse(message(), recorded_at).received_at == recorded_at
    assert parse(message()).received_at == datetime(2026, 11, 11, 4, tzinfo=UTC)


def test_an_event_may_claim_to_happen_24_hours_after_it_was_received_and_not_a_microsecond_more() -> None:
    assert parse(message(received_at="2026-11-10T12:00:00+08:00"))
    fault = "occurred_at: 2026-11-11T04:00:00+00:00 is more than 24 hours after it was received"
    assert complaint(message(received_at="2026-11-10T11:59:59.999999+08:00")).startswith(fault)
    assert complaint(message(), datetime(2026, 11, 10, 3, tzinfo=UTC)).startswith(fault)


def test_events_come_back_equal_from_their_own_json() -> None:
    for kind in EVENT_TYPES:
        event = parse(message(kind, event_id="e1"))
        assert parse(event.model_dump_json().encode()) == event


def test_the_json_schema_describes_every_type_and_status() -> None:
    schema = json_schema()
    assert set(schema["discriminator"]["mapping"]) == set(EVENT_TYPES) == set(EVENTS)
    assert schema["$defs"]["ScanStatus"]["enum"] == list(ScanStatus)
    assert schema["$defs"]["Scan"]["properties"]["occurred_at"]["format"] == "date-time"
    assert set(schema["$defs"]["Scan"]["required"]) == {"type", "occurred_at", "carrier", "waybill_no", "status"}
