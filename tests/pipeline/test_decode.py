import hashlib
import hmac
import json
import re
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

import polars as pl
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from pipeline.decode import Decoded, Decoder, to_row
from pipeline.forms import FORMS, PARTS
from schemas.events import (
    EVENT_TYPES,
    AftersaleAnswer,
    AftersaleKind,
    RejectedError,
    ReplacementKind,
    ScanStatus,
    parse,
)
from schemas.frames import EVENTS, LETTERS, RECORDS

KEY = b"a key for tests"
RECORDED_AT = datetime(2026, 11, 11, 4, 0, 1, tzinfo=UTC)
DECODER = Decoder(KEY)


def records(values: Sequence[bytes | None], recorded_at: datetime | None = RECORDED_AT) -> pl.DataFrame:
    return pl.DataFrame(
        {"value": values, "source": "t/0", "position": range(len(values)), "recorded_at": recorded_at}, schema=RECORDS
    )


def decode(*values: bytes | None, until: datetime | None = None) -> Decoded:
    return DECODER.decode(records(values), until)


def only(value: bytes) -> dict[str, Any]:
    events, letters = decode(value)[:2]
    assert letters.is_empty(), letters["error"].item()
    return events.row(0, named=True)


def message(of_type: str, /, **fields: object) -> dict[str, Any]:
    return {"type": of_type, "occurred_at": "2026-11-11T12:00:00+08:00", "order_id": "O1"} | fields


def scan(**fields: object) -> bytes:
    told = {"type": "scan", "occurred_at": "2026-11-11T12:00:00+08:00", "carrier": "sf", "waybill_no": "SF1"}
    return json.dumps(told | {"status": "picked_up"} | fields, ensure_ascii=False).encode()


def judged(value: bytes) -> dict[str, Any] | str:
    """What the models say of one message: its row, or the complaint."""
    try:
        return to_row(parse(value, RECORDED_AT))
    except RejectedError as error:
        return str(error)


def check(values: Sequence[bytes]) -> pl.DataFrame:
    """Columns read every message as the models do, or leave it to them; no record is lost. Returns the letters."""
    verdicts = [judged(value) for value in values]
    vouched = DECODER._vouched(records(values).with_row_index("row"))
    for row in vouched.iter_rows(named=True):
        verdict = verdicts[row.pop("row")]
        assert not isinstance(verdict, str)
        assert {name: value for name, value in row.items() if value is not None} == {
            name: value for name, value in verdict.items() if value is not None
        }
    events, letters = decode(*values)[:2]
    assert events.schema == EVENTS
    assert letters.schema == LETTERS
    assert len(events) + len(letters) == len(values)
    complaints = {position: verdict for position, verdict in enumerate(verdicts) if isinstance(verdict, str)}
    assert dict(letters.select("position", "error").iter_rows()) == complaints
    assert letters["raw"].to_list() == [values[position] for position in letters["position"]]
    return letters


# Each field at its edges ---------------------------------------------------------------------------------------------

TIMES = [
    "2026-11-11T12:00:00+08:00", "2026-11-11 04:00:00.123456789Z", "2026-11-11T03:30:00.25Z", "2024-02-29T23:59:59.9-00:00",
    "2026-11-11T12:00:00.1+14:59", "2026-11-11T12:00:00+15:00", "2026-11-11T12:00:00+24:00", "2026-11-11T12:00:00+08",
    "2026-11-12T04:00:01Z", "2026-11-12T04:00:01.000001Z", "2026-11-13T12:00:00+08:00", "2026-11-11t12:00:00z",
    "2026-02-29T00:00:00Z", "2026-04-31T00:00:00Z", "2026-11-11T24:00:00Z", "2026-11-11T23:60:00Z", "2026-11-11T23:59:60Z",
    "0000-01-01T00:00:00Z", "0001-01-01T00:00:00Z", "1999-12-31T23:59:59Z", "2100-02-29T00:00:00Z", "9999-12-31T23:59:59Z",
    "2026-11-11T12:00:00", "2026-11-11", "1762833600", "infinity", "today", "", "２０２６-11-11T12:00:00Z",
]  # fmt: skip
IDENTIFIERS = [
    "O1",
    "SF0001",
    "顺丰",
    'é\n\t"\\',
    "",
    " ",
    *(letter * n for letter in "x中😀\n" for n in (127, 128, 129)),
    "a\0b",
]
TEXTS = ["", "王小明", '"quoted" \\ {":', '\\": null', "138 1234 5678", "😀", "\0", "\u2028", "\x7f"]
STRANGE = [
    None, True, 0, -0.0, 48, 48.0, 1e300, 10**15, 10**30, float("nan"), float("inf"), "", "x", "\0",
    [], ["x"], [None], {}, {"text": 1}, {"city": "x"}, {"name": ""}, {"phone": {}}, [[[[1]]]],
]  # fmt: skip
LISTS = [["*"], ["a", "b"], ["*", ""], ["x" * 128], ["x" * 129], ["中"], ["a\0"], ["a", 1], [["a"]]]
VALUES: dict[str, list[Any]] = {
    **dict.fromkeys(("occurred_at", "received_at", "extended_to", "applies_from", "applies_until"), TIMES),
    "amount": ["0", "12.50", "007", "9" * 20, "9" * 40, "9" * 41, f"{10**19}.{10**18}", f"{10**18}.{10**19}", f"1.{10**38}",
               f"{10**19}.{10**19}", "-1", "+1", "1e3", ".5", "5.", "NaN", "１", " 1"],
    "ship_within_hours": [1, 48, 999, 1000, 1999, 2099, 2159, 2160, 2161, 2169, 2170, 3000, 9999, 0, -1, "48"],
    "status": [*ScanStatus, "PICKED_UP", "picked_up ", "lost"],
    "rules": LISTS,
    "products": LISTS,
    "kind": [*AftersaleKind, *ReplacementKind, "Resend", "x"],
    "answer": [*AftersaleAnswer, "maybe"],
    **dict.fromkeys(("description", "reason"), TEXTS),
    **{name: [{field: text} for field in part.model_fields for text in TEXTS] for name, part in PARTS.items()},
}  # fmt: skip


def with_each_value(kind: str) -> Iterator[dict[str, Any]]:
    fields = EVENT_TYPES[kind].model_fields
    plain: dict[str, Any] = {field: VALUES.get(field, IDENTIFIERS)[0] for field in fields if field != "type"}
    plain |= {field: {"text": "深圳市"} for field in ("address", "location") if field in fields}
    if kind == "waybill_replaced":
        plain["kind"] = "transfer"
    if kind == "exemption_granted":
        plain["region"] = None  # for which columns leave a message to the models
    for field in plain:
        yield from ({"type": kind} | plain | {field: value} for value in [*VALUES.get(field, IDENTIFIERS), *STRANGE])
        yield {"type": kind} | {other: value for other, value in plain.items() if other != field}


def test_columns_and_models_agree_at_the_edges_of_every_field() -> None:
    told = [message for kind in EVENT_TYPES for message in with_each_value(kind)]
    values = [json.dumps(message, ensure_ascii=bool(at % 2)).encode() for at, message in enumerate(told)]
    batches = (values[at : at + 32] for at in range(0, len(values), 32))  # so few that each shape is learned
    # All types are in the same columns, so that what is asked of one must not be asked of another.
    letters = sum(len(check([*ORDINARY, *batch])) for batch in batches)
    assert 0.2 < letters / len(told) < 0.9


# Any message at all --------------------------------------------------------------------------------------------------

texts = st.text(max_size=5) | st.sampled_from(TEXTS)
identifiers = st.text(min_size=1, max_size=130) | st.sampled_from(IDENTIFIERS)
strange: st.SearchStrategy[Any] = st.sampled_from(STRANGE)
anything = st.recursive(
    strange | st.floats() | st.integers() | texts, lambda inner: st.lists(inner, max_size=2), max_leaves=4
)


def part(name: str) -> st.SearchStrategy[Any]:
    known = {field: texts | st.none() for field in PARTS[name].model_fields}
    return st.fixed_dictionaries({}, optional=known | {"extra": anything}) | st.none()


FIELDS: dict[str, st.SearchStrategy[Any]] = {
    field: part(field) if field in PARTS else st.just(values[0]) | st.sampled_from(values)
    for field, values in VALUES.items()
}


@st.composite
def valid_looking(draw: st.DrawFn) -> dict[str, Any]:
    kind = draw(st.sampled_from(list(EVENT_TYPES)))
    fields = EVENT_TYPES[kind].model_fields
    told: dict[str, Any] = {"type": kind}
    for field, info in fields.items():
        if field != "type" and (info.is_required() or draw(st.booleans())):
            told[field] = draw(FIELDS.get(field, identifiers))
    for field in draw(st.lists(st.sampled_from([*FIELDS, "order_id", "weight", "Type", "TYPE"]), max_size=2)):
        told.setdefault(field, draw(FIELDS.get(field, strange)))  # of another type's, or of none
    return dict(draw(st.permutations(list(told.items()))))


NOISE = [b"", b",", b'"', b"}", b"\\", b"\\u0000", b"\\ud800", b"\xff", b"\x00", b"NaN", b"1e9", b":", b" "]


@st.composite
def written(draw: st.DrawFn) -> bytes:
    told = draw(valid_looking())
    for field in draw(st.lists(st.sampled_from([*told]), max_size=1)):
        told[field] = draw(anything)
    separators = draw(st.sampled_from([(",", ":"), (", ", ": "), (" ,", " :"), (",\n", ":\t")]))
    text = json.dumps(told, ensure_ascii=draw(st.booleans()), separators=separators)
    if draw(st.integers(0, 3)) == 0:  # a key once more: at the top or within, written plainly or not
        key = draw(st.sampled_from([*told, "city", "text", "name", "weight"]))
        spelt = draw(st.sampled_from([key, f"\\u{ord(key[0]):04x}{key[1:]}"]))
        again = f'"{spelt}":{json.dumps(draw(FIELDS.get(key, texts) | strange))}'
        openings = [match.end() for match in re.finditer(r"\{(?!\})", text)]
        at = draw(st.sampled_from(openings))
        text = f"{text[:at]}{again},{text[at:]}"
    value = text.encode(errors="surrogatepass")
    for _ in range(draw(st.integers(0, 2)) if draw(st.booleans()) else 0):
        at = draw(st.integers(0, len(value)))
        value = value[:at] + draw(st.sampled_from(NOISE)) + value[at + draw(st.integers(0, 2)) :]
    return value


LITERALS = [
    b'""', b'"a"', b'"scan"', b'"order_paid"', b'"delivered"', b'"resend"', b'"transfer"', b'"12.50"', b'"1e3"',
    b'"' + b"x" * 129 + b'"',
    b'"\\u4e2d"', b'"\\ud83d\\ude00"', b'"\\ud83d"', b'"\\u0000"', b'"\\""', b'"\\\\"', b'"\\\\\\""', b'"\\"', b'"a\tb"', b'"\x00"',
    b'"\xff"', b'"\\q"', b'"\\u00g0"', b'"2026-11-11T12:00:00+08:00"', b'"2026-02-29T12:00:00Z"',
    b'"2026-11-12 04:00:00.123456789-00:30"', b'"2026-11-11T12:00:00.1234567890Z"', b"0", b"-0", b"48", b"2161", b"48.0", b"48.5",
    b"01", b"-", b"1.", b"1e2", b"99999999999", b"1234567890123456", b"null", b"true", b"NaN", b"[]", b"{}", b'"a","a"', b'"a":"a"',
    b"1,2", b"",
]  # fmt: skip
LITERAL = re.compile(rb'"(?:[^"\\]|\\.)*"(?!\s*:)|[-+.0-9][-+.0-9eE]*|\b[a-z]+\b')


@st.composite
def alike(draw: st.DrawFn) -> list[bytes]:
    """Messages that differ in single values: most of them have one shape."""
    told = draw(valid_looking() | st.sampled_from([json.loads(value) for value in ORDINARY]))
    text = json.dumps(told, ensure_ascii=draw(st.booleans())).encode()
    spans = [match.span() for match in LITERAL.finditer(text)]
    values = [text]
    for start, stop in draw(st.lists(st.sampled_from(spans), min_size=1, max_size=12)):
        values.append(text[:start] + draw(st.sampled_from(LITERALS)) + text[stop:])
    return values


HOSTILE = [
    b"",
    b" \n",
    b"{}",
    b"[]",
    b"null",
    b"\xef\xbb\xbf" + scan(),
    b"\xff\xfe",
    scan() + b"x",
    scan() + scan(),
    scan()[:-1],
    scan()[:-1] + b",}",
    *(
        scan(x=0).replace(b'"x": 0', b'"x": ' + number)
        for number in (
            b"-0", b"-", b"+1", b"01", b"1.", b".5", b"1e5", b"1e999", b"9" * 30, b"9" * 5_000, b"0." + b"1" * 400,
            b"NaN", b"-Infinity", b"nan", b"inf", b"0x1", b"[1,]", b"[,]", b"[1 2]", b'{"a":1,}', b'{"a"}', b"'z'", b"True",
        )
    ),
    scan(x=0).replace(b": 0", b": " + b"[" * 150 + b"]" * 150),
    scan(x=0).replace(b": 0", b": " + b"[" * 100_000 + b"]" * 100_000),
    scan(x=0).replace(b": 0", b": " + b'{"a":' * 100_000 + b"1" + b"}" * 100_000),
    b"[" * 100_000,
    scan(x="y" * 10_000_000),
    scan(description="中" * 4_000_000),
    scan(carrier="c" * 10_000_000),
    scan(description="z").replace(b'"z"', b'"\\ud83d"'),
    scan(description="z").replace(b'"z"', b'"\\ude00\\ud83d"'),
    scan(description="z").replace(b'"z"', b'"\\ud83d\\ude00"'),
    scan(description="z").replace(b'"z"', b'"\xed\xa0\x80"'),
    scan(description="z").replace(b'"z"', b'"\\u0000"'),
    scan(description="z").replace(b'"z"', b'"\x00"'),
    scan(description="z").replace(b'"z"', b'"\t"'),
    scan(description="z").replace(b'"z"', b'"\\q"'),
    scan(x="z").replace(b'"z"', b'"\\ud800"'),
    scan()[:-1] + b', "\\ud800": 1}',
    scan()[:-1] + b', "status": "delivered"}',
    b'{"status": "lost", ' + scan()[1:],
    b'{"status": null, ' + scan()[1:],
    scan()[:-1] + b', "status": null}',
    scan()[:-1] + b', "\\u0073tatus": "delivered"}',
    scan()[:-1] + b', "type": "order_cancelled", "order_id": "O1"}',
    b'{"type": "order_cancelled", "order_id": "O1", ' + scan()[1:],
    scan()[:-1] + b', "location": {"city": "A", "city": "B"}}',
    scan()[:-1] + b', "location": {"city": "A", "cit\\u0079": "B"}}',
    scan()[:-1] + b', "location": {"city": "A"}, "location": {"city": "B"}}',
    scan()[:-1] + b', "x": 1, "x": {"status": 1, "status": 2}}',
    scan(Status="delivered", CARRIER="yto"),
    scan(**{"": 1, "status ": "delivered", "\u00a0status": 1}),
    scan().replace(b"{", b"/* a comment */ {"),
    scan().decode().encode("utf-16"),
]  # fmt: skip


@given(st.lists(written(), min_size=1, max_size=12))
def test_columns_and_models_agree_on_any_batch(values: list[bytes]) -> None:
    check(values)


@given(alike())
def test_columns_and_models_agree_on_messages_of_one_shape(values: list[bytes]) -> None:
    check(values)


def test_columns_and_models_agree_on_hostile_messages_alone_and_among_good_ones() -> None:
    good = [scan(event_id=f"e{i}") for i in range(3)]
    letters = check([*good, *HOSTILE, *good])
    assert len(letters) > len(HOSTILE) / 2
    for value in HOSTILE:
        check([value])


@given(st.binary(max_size=20))
@example(b"\xff")
def test_any_bytes_end_as_an_event_or_a_letter(value: bytes) -> None:
    check([value])


def test_every_day_of_the_century_is_read_as_the_models_read_it_and_no_other() -> None:
    days = [
        f"{year}-{month:02}-{day:02}"
        for year in range(2000, 2100)
        for month in range(1, 13)
        for day in (1, 28, 29, 30, 31)
    ]
    check([scan(occurred_at=f"{day}T23:59:59.999999-14:59", received_at="2100-01-01T00:00:00Z") for day in days])
    letters = check([scan(occurred_at="2000-01-01T00:00:00Z", received_at=f"{day}T00:00:00Z") for day in days])
    assert len(days) - len(letters) == 100 * (12 * 2 + 2 * 11 + 7) + 25


# What takes the fast path --------------------------------------------------------------------------------------------

ORDINARY = [
    scan(event_id="e1", received_at="2026-11-11T12:00:05.5+08:00", description="已到达【深圳】", location={"city": "深圳市"}),
    scan(occurred_at="2026-11-11 04:00:00Z", location={"text": "广东省深圳市"}),
    json.dumps(
        message(
            "order_paid", platform="douyin", merchant_id="M1", amount="12.50", ship_within_hours=48,
            recipient={"name": "王小明😀", "phone": "13812345678"}, address={"province": "广东省", "detail": "科技路\"1\"号"},
        )
    ).encode(),
    json.dumps(message("waybill_uploaded", carrier="sf", waybill_no="SF1"), separators=(",", ":")).encode(),
    json.dumps(message("order_cancelled", reason="不想要了", event_id=None)).encode(),
    json.dumps(message("address_changed", address={"text": "浙江省杭州市"})).encode(),
    json.dumps(message("exemption_granted", rules=["*"], extended_to="2026-11-12T00:00:00Z")).encode(),
    json.dumps(message("waybill_replaced", carrier="sf", waybill_no="1", new_carrier="yto", new_waybill_no="2")).encode(),
    json.dumps(message("order_paid", platform="douyin", merchant_id="M1", category="presale", products=["p1", "p2"])).encode(),
    json.dumps(message("aftersale_opened", aftersale_id="a1", kind="resend", reason="一直未收到货")).encode(),
    json.dumps(message("aftersale_answered", aftersale_id="a1", answer="agreed")).encode(),
    json.dumps(message("return_waybill_uploaded", aftersale_id="a1", carrier="sf", waybill_no="SF2")).encode(),
    json.dumps(message("return_received", aftersale_id="a1")).encode(),
    json.dumps(message("refunded", aftersale_id="a1", amount="19.90")).encode(),
    json.dumps(message("resend_shipped", aftersale_id="a1", carrier="sf", waybill_no="SF3")).encode(),
    json.dumps(message("aftersale_closed", aftersale_id="a1", reason="买家撤销")).encode(),
    scan(description="", location={"city": None, "district": ""}, event_id=None),
    scan(weight_kg=1.25, order_id="O1", source={"system": "tms", "tags": ["a", None], "ok": True}),
    scan(location={"city": "深圳市", "geo": 7, "facility": "A"}),
    json.dumps(json.loads(scan(description="已签收", location={"city": "深圳市"})), indent=1).encode(),
]  # fmt: skip


def test_ordinary_messages_of_every_type_are_read_in_columns() -> None:
    decoder = Decoder(KEY)
    events, letters = decoder.decode(records(ORDINARY))[:2]
    assert (len(events), len(letters), decoder.handed_over) == (len(ORDINARY), 0, 0)
    assert set(events["type"]) == set(EVENT_TYPES) == set(FORMS)
    check(ORDINARY)


def test_what_columns_cannot_vouch_for_is_counted() -> None:
    decoder = Decoder(KEY)
    decoder.decode(records([scan(), scan(x=float("nan")), b"?"]))
    decoder.decode(records([scan(), b"?"]))
    assert decoder.handed_over == 3
    # Nothing is to be learned from the first, and one look shows it: there is time left for the second.
    decoder.decode(records([scan(x=1e300), scan(event_id="e1")]))
    assert decoder.handed_over == 4
    # Which of two values counts is the models' business.
    decoder.decode(records([scan()[:-1] + b', "status": "delivered"}']))
    assert decoder.handed_over == 5


# What comes out ------------------------------------------------------------------------------------------------------


def test_an_empty_batch_and_a_tombstone_are_no_trouble() -> None:
    assert decode().events.schema == EVENTS
    events, letters = decode(None, scan())[:2]
    assert len(events) == 1
    assert letters.select("position", "raw", "error").row(0) == (0, b"", "empty message")


def test_a_letter_says_where_it_came_from() -> None:
    expected = {"source": "t/0", "position": 1, "raw": b"?", "recorded_at": RECORDED_AT, "error": judged(b"?")}
    assert decode(scan(), b"?").letters.row(0, named=True) == expected


def test_times_names_and_places_end_in_their_columns() -> None:
    row = only(
        scan(location={"country": "CN", "city": "深圳市", "text": "深圳市南山区", "facility": "一部"}, order_id="O1")
    )
    assert {name: value for name, value in row.items() if value is not None} == {
        "type": "scan",
        "occurred_at": datetime(2026, 11, 11, 4, tzinfo=UTC),
        "received_at": RECORDED_AT,
        "carrier": "sf",
        "waybill_no": "SF1",
        "status": "picked_up",
        "country": "CN",
        "city": "深圳市",
        "place_text": "深圳市南山区",
        "facility": "一部",
    }


def test_received_at_defaults_to_the_record_then_to_occurred_at_on_both_paths() -> None:
    for value in (scan(), scan(x=float("nan"))):
        assert only(value)["received_at"] == RECORDED_AT
        events = DECODER.decode(records([value], recorded_at=None)).events
        assert events["received_at"].item() == datetime(2026, 11, 11, 4, tzinfo=UTC)


def test_what_was_received_after_until_is_left_out_and_is_no_letter() -> None:
    until = datetime(2026, 11, 11, 4, 0, 5, tzinfo=UTC)
    values = [scan(received_at=f"2026-11-11T04:00:05{fraction}Z") for fraction in ("", ".000001")]
    events, letters = decode(*values, *(value[:-1] + b', "x": NaN}' for value in values), b"?", until=until)[:2]
    assert events["received_at"].to_list() == [until, until]
    assert len(letters) == 1


def paid(name: str, phone: str, **fields: object) -> bytes:
    recipient = {"name": name, "phone": phone}
    return json.dumps(message("order_paid", platform="p", merchant_id="m", recipient=recipient) | fields).encode()


def test_names_and_phones_leave_as_hmac_sha256_of_what_makes_them_the_same() -> None:
    expected = {
        "name_hash": hmac.new(KEY, "王小明".encode(), hashlib.sha256).hexdigest()[:32],
        "phone_hash": hmac.new(KEY, b"13812345678", hashlib.sha256).hexdigest()[:32],
    }
    for name, phone in [
        ("王小明", "13812345678"),
        (" 王 小·明。", "138-1234 5678"),
        ("王小明", "１３８１２３４５６７８"),
    ]:
        for extra in ({}, {"x": float("nan")}):
            row = only(paid(name, phone, **extra))
            assert {column: row[column] for column in expected} == expected
    long_key = b"k" * 100
    row = Decoder(long_key).decode(records([paid("王小明", "1")])).events.row(0, named=True)
    assert row["name_hash"] == hmac.new(long_key, "王小明".encode(), hashlib.sha256).hexdigest()[:32]


def test_a_name_of_nothing_but_punctuation_is_not_given() -> None:
    assert only(paid("**", " "))["name_hash"] is None
    assert only(paid("**", " "))["phone_hash"] is None


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("快递员13812345678派送", "快递员138****5678派送"),
        ("138-1234-5678", "138****5678"),
        ("电话:138 1234 5678，", "电话:138****5678，"),
        ("13812345678,13912345678 15012345678", "138****5678,139****5678 150****5678"),
        ("+8613812345678", "+86138****5678"),
        ("单号138123456789", "单号138123456789"),
        ("SF9913812345678", "SF9913812345678"),
        ("12812345678", "12812345678"),
        ("0755-12345678", "0755****5678"),
        ("(0571-88000001,021 6200-0002)", "(0571****0001,021****0002)"),
        ("请联系62000003", "请联系****03"),
        ("单号0755123456789012", "单号0755123456789012"),
        ("4008123123", "4008123123"),
    ],
)
def test_mobile_numbers_are_masked_in_every_free_text_on_both_paths(text: str, masked: str) -> None:
    for extra in ({}, {"x": float("nan")}):
        row = only(scan(description=text, location={"facility": text, "text": text}, **extra))
        assert (row["description"], row["facility"], row["place_text"]) == (masked,) * 3
        assert only(paid("a", "1", address={"detail": text}, **extra))["detail"] == masked
        assert only(json.dumps(message("order_cancelled", reason=text, **extra)).encode())["reason"] == masked


def test_both_paths_give_the_same_frame() -> None:
    slow = [value.rstrip()[:-1] + b', "x": NaN}' for value in ORDINARY]
    assert_frame_equal(decode(*ORDINARY).events, decode(*slow).events, check_row_order=False)


def test_what_only_one_value_of_a_known_shape_spoils_is_seen() -> None:
    good = scan(received_at="2026-11-11T12:00:00.123456789+08:00", x="y")
    times = ["12:00:00.12a4567", "12:00:00.12345678a", "24:00:00", "12:00:60", "12:60:00", "12:00:00.", "12:00:00x5"]
    spoilt = [good.replace(b"12:00:00.123456789", time.encode()) for time in times]
    spoilt += [good.replace(b"789+08:00", zone) for zone in (b"789+24:00", b"789+08:60", b"789*08:00")]
    spoilt += [good.replace(b'"y"', value) for value in (b'"\\\\"', b'"\\\\\\"', b'"\\"', b'"\\\\\\\\"')]
    check([good, good, *spoilt])
