import json
from contextlib import suppress
from copy import deepcopy
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from schemas.carriers import AUTO, CANONICAL, FORMAT_NAMES, FORMATS, convert
from schemas.carriers._contract import CHINA, Loose, Moment, refuse_placeholder
from schemas.carriers._reading import documents
from schemas.events import Event, RejectedError, Scan
from tests.schemas.carriers.abroad import EXAMPLES
from tests.schemas.carriers.labelled import SHARED

KUAIDI100 = {"nu": "SF1", "com": "shunfeng", "data": [{"time": "2026-03-01 18:30:00", "context": "已签收"}]}
KDNIAO = {
    "LogisticCode": "SF1",
    "ShipperCode": "SF",
    "Traces": [{"AcceptTime": "2026-03-01 18:30:00", "AcceptStation": "已签收"}],
}
OWN = {
    "type": "scan",
    "occurred_at": "2026-03-01T18:30:00+08:00",
    "carrier": "sf",
    "waybill_no": "SF1",
    "status": "delivered",
}
RECORDED_AT = datetime(2026, 3, 1, 11, tzinfo=UTC)


def encoded(payload: object) -> bytes:
    return json.dumps(payload, ensure_ascii=False).encode()


def read(value: bytes, name: str = AUTO, recorded_at: datetime | None = None) -> list[Event]:
    reading = convert(value, name, recorded_at)
    assert reading.complaint is None
    return reading.events


def complaint(value: bytes, name: str = AUTO) -> str:
    with pytest.raises(RejectedError) as caught:
        convert(value, name)
    return str(caught.value)


# Envelopes -------------------------------------------------------------------------------------------------------------


def test_the_same_scan_is_the_same_fact_whoever_tells_it() -> None:
    scans = [read(encoded(payload))[0] for payload in (KUAIDI100, KDNIAO)]
    assert scans[0] == scans[1]
    own = read(encoded(OWN))[0]
    assert isinstance(own, Scan)
    assert scans[0] == own.model_copy(update={"description": "已签收"})


def test_json_in_a_form_or_in_a_json_string_is_found() -> None:
    text = json.dumps(KDNIAO, ensure_ascii=False)
    form = f"RequestType=101&RequestData={quote_plus(text)}&DataSign=x%3D%3D".encode()
    assert read(form) == read(encoded(text)) == read(encoded(KDNIAO))
    assert read(encoded({"RequestType": "101", "RequestData": text})) == read(form)
    push = f"sign=0&param={quote_plus(json.dumps({'lastResult': KUAIDI100}))}".encode()
    assert read(push, "kuaidi100") == read(encoded(KUAIDI100))


def test_the_record_says_when_it_was_received_and_a_file_when_it_happened() -> None:
    assert read(encoded(KUAIDI100), recorded_at=RECORDED_AT)[0].received_at == RECORDED_AT
    assert read(encoded(KUAIDI100))[0].received_at == datetime(2026, 3, 1, 10, 30, tzinfo=UTC)


def test_a_scan_far_ahead_of_its_record_is_a_fault() -> None:
    late = KUAIDI100 | {"data": [{"time": "2026-03-09 18:30:00", "context": "已签收"}, *KUAIDI100["data"]]}
    reading = convert(encoded(late), "kuaidi100", RECORDED_AT)
    assert len(reading.events) == 1
    assert "occurred_at: 2026-03-09T10:30:00+00:00 is more than 24 hours after it was received" in str(
        reading.complaint
    )


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (b"", "empty message"),
        (b"{", "not valid JSON: "),
        (b"garbage", "not valid JSON: "),
        (b"a=1&b=2", "a form without a field that holds JSON"),
        (b"param=%7Bx", "a form without a field that holds JSON"),
        (b"a=\xff\xfe", "not valid JSON, and no form that can be read"),
        (b"[]", "has the shape of no known format: "),
        (b"3", "has the shape of no known format"),
        (b'{"type": "scam", "occurred_at": 1}', "type: is unknown, got 'scam'"),
    ],
)
def test_what_has_no_shape_is_rejected_in_a_line(value: bytes, said: str) -> None:
    assert complaint(value).startswith(said)


def test_a_payload_of_another_format_than_declared_is_rejected() -> None:
    assert complaint(encoded(KDNIAO), "kuaidi100") == "does not have the shape of kuaidi100"
    assert complaint(encoded(KDNIAO), CANONICAL) == "type: missing"


def test_many_faults_are_told_in_few_words() -> None:
    rows = [{"time": "?", "context": "x"}] * 100
    assert str(convert(encoded(KUAIDI100 | {"data": rows}), AUTO).complaint).endswith("; and 95 more")


# Times -----------------------------------------------------------------------------------------------------------------


class Timed(Loose):
    at: Moment


def moment(value: object, zone: object = CHINA) -> datetime | None:
    return Timed.model_validate({"at": value}, context={"zone": zone, "faults": []}).at


EXPECTED = datetime(2026, 3, 1, 10, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    "value",
    [
        "2026-03-01 18:30:00", "2026-03-0118:30:00", "2026/03/01 18:30:00", "2026-3-1 18:30", "2026年03月01日 18:30:00",
        "2026.03.01 18:30:00", "2026-03-01T18:30:00", "20260301183000", " 2026-03-01 18:30:00 ", "2026-03-01 18:30:000",
        "2026-03-01T18:30:00+08:00", "2026-03-01T18:30:00.000+0800", "2026-03-01T10:30:00Z", "2026-03-01T05:30:00-05:00",
        1772361000, 1772361000000, 1772361000000000, "1772361000", "1772361000000", 1772361000.0,
    ],
)  # fmt: skip
def test_times_are_read_in_every_notation(value: object) -> None:
    assert moment(value) == EXPECTED


@pytest.mark.parametrize(
    "value",
    [
        "1970-01-01 00:00:00",
        "1970-01-01 08:00:00",
        "2000-01-01 00:00:00",
        "0001-01-01T00:00:00Z",
        "0000-00-00 00:00:00",
        0,
        "0",
        -62135596800,
    ],
)
def test_sentinels_mean_none(value: object) -> None:
    assert moment(value) is None


@pytest.mark.parametrize(
    "value",
    [
        "",
        "昨天",
        "2026-03-01",
        "2026-02-30 00:00:00",
        "2026-03-01 24:00:00",
        None,
        True,
        [],
        1e300,
        "9999-12-31 00:00:00",
    ],
)
def test_what_is_no_time_is_a_fault(value: object) -> None:
    with pytest.raises(ValidationError):
        moment(value)


def test_without_a_zone_a_time_needs_an_offset() -> None:
    assert moment("2026-03-01T18:30:00+08:00", None) == EXPECTED
    with pytest.raises(ValidationError, match="needs an offset"):
        moment("2026-03-01 18:30:00", None)


@pytest.mark.parametrize("number", ["12345678", "111111111111", "87654321", "0123456789", "000000", "1234567890123"])
def test_placeholders_are_known(number: str) -> None:
    with pytest.raises(ValueError, match="placeholder"):
        refuse_placeholder("nu", number)


@pytest.mark.parametrize("number", ["1234561", "884300000000000017", "SF123456789", "12345", "YT1111111111111"])
def test_numbers_that_may_be_real_are_none(number: str) -> None:
    refuse_placeholder("nu", number)


# Every payload that there is -------------------------------------------------------------------------------------------

PAYLOADS = sorted((SHARED / "payloads").rglob("*.json"))
needs_payloads = pytest.mark.skipif(
    not PAYLOADS, reason="there is no folder `shared` beside the project with real payloads"
)
OF_FOLDERS = {
    "kuaidi100": "kuaidi100", "kdniao": "kdniao", "showapi": "showapi", "sf": "sf", "excerpts_truncated": "kuaidi100",
    "platform_docs/weixin_ewaybill_push_path.json": "wechat", "platform_docs/weixin_channels_ec_order_deliver.json": "wechat",
    "platform_docs/aliyun_SmartLogisticsReport.json": "cainiao", "17track": "track17", "aftership": "aftership",
    "easypost": "easypost", "shippo": "shippo", "epcis": "epcis", "karrio/ups__": "ups", "karrio/usps__": "usps",
    "karrio/australiapost__": "australiapost", "karrio/laposte__": "laposte",
    "platform_docs/ups_track_alert_event.json": "ups", "platform_docs/shipstation": "shipstation",
}  # fmt: skip
"""The format of a payload, by the beginning of its path. What lies in a folder named like a format is of that, or of none."""


def format_of(path: Path) -> str | None:
    name = path.relative_to(SHARED / "payloads").as_posix()
    return next((known for beginning, known in OF_FOLDERS.items() if name.startswith(beginning)), None)


@needs_payloads
def test_no_payload_has_the_shape_of_two_formats_and_each_is_recognised_as_its_own() -> None:
    for path in PAYLOADS:
        payload = json.loads(path.read_text("utf-8"))
        shapes = [name for name, adapter in FORMATS.items() if next(documents(payload, adapter), None) is not None]
        assert len(shapes) <= 1, (path.name, shapes)
        if known := format_of(path):
            assert shapes == [known], path.name
        elif path.parent.name in FORMATS:
            assert shapes in ([], [path.parent.name]), path.name


@needs_payloads
def test_every_payload_gives_events_or_says_why_not() -> None:
    for path in PAYLOADS:
        if format_of(path):
            reading = convert(path.read_bytes(), AUTO)
            told = json.loads(path.read_text("utf-8"))
            # A click that ships names no waybill, and papers and recipes no parcel's way.
            assert reading.events or reading.faults or "weixin" in path.name or path.parent.name == "epcis", path.name
            assert all(event.occurred_at.year >= 2005 for event in reading.events), (path.name, told)


# Fuzzed payloads -------------------------------------------------------------------------------------------------------

strange: st.SearchStrategy[Any] = st.sampled_from(
    [
        None,
        True,
        0,
        -1,
        1e300,
        float("nan"),
        "",
        "x",
        "\0",
        "9" * 200,
        [],
        {},
        [[]],
        [{}],
        {"data": {}},
        "2026-03-01 18:30:00",
    ]
).map(deepcopy)
SEEDS: list[Any] = [
    KUAIDI100,
    KDNIAO,
    {"lastResult": KUAIDI100, "comOld": "a", "comNew": "shunfeng"},
    {"PushTime": "x", "EBusinessID": "1", "Data": [KDNIAO]},
    {"mailNo": "SF1", "expSpellName": "shunfeng", "data": KUAIDI100["data"]},
    [{"mailno": "SF1", "acceptTime": "2026-03-01 18:30:00", "opCode": "80", "remark": "签收人是: 转EMS1130000000017"}],
    {"mailNo": "SF1", "routes": [{"acceptTime": 1772361000000, "opCode": "80"}]},
    {
        "Event": "ewaybill_push_path",
        "waybill_info": {"waybill_id": "SF1", "update_time": 1772361000, "status": 1, "desc": "x"},
    },
    {
        "Event": "add_express_path",
        "DeliveryID": "SF",
        "WayBillId": "SF1",
        "Actions": [{"ActionTime": 1, "ActionType": 1}],
    },
    [{"cpCode": "YTO", "mailNo": "1", "logisticsStatus": "SIGN", "logisticsGmtModified": "2026-03-01 18:30:00"}],
    *EXAMPLES,
]


@st.composite
def spoilt(draw: st.DrawFn) -> Any:
    """A payload in which some values, at any depth, have become something else."""
    payload = json.loads(json.dumps(draw(st.sampled_from(SEEDS))))
    for _ in range(draw(st.integers(1, 4))):
        node = payload
        while isinstance(node, dict | list) and node:
            key: Any = draw(st.sampled_from(sorted(node)) if isinstance(node, dict) else st.integers(0, len(node) - 1))
            if not isinstance(node[key], dict | list) or not node[key] or draw(st.integers(0, 3)) == 0:
                node[key] = draw(strange)
                break
            node = node[key]
    return payload


@given(spoilt(), st.sampled_from([name for name in FORMAT_NAMES if name != CANONICAL]))
def test_a_spoilt_payload_gives_events_or_a_complaint(payload: Any, name: str) -> None:
    try:
        reading = convert(json.dumps(payload).encode(), name, RECORDED_AT)
    except RejectedError:
        return
    assert all(reading.faults)
    assert all(event.received_at for event in reading.events)


@given(st.binary(max_size=30), st.sampled_from(FORMAT_NAMES))
def test_any_bytes_give_events_or_a_complaint(value: bytes, name: str) -> None:
    with suppress(RejectedError):
        convert(value, name)


def test_deep_and_large_payloads_are_no_trouble() -> None:
    assert complaint(b"[" * 100_000)
    assert complaint(b'{"a":' * 50 + b"1" + b"}" * 50)
    assert convert(encoded([{"x": [KUAIDI100] * 300}]), AUTO).events
