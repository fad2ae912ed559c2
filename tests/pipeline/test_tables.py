"""Tables of events: read in columns, they give what their rows give as JSON."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import given
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from pipeline.decode import Decoder
from pipeline.files import open_readers
from pipeline.tables import GIVEN, with_values
from schemas.events import EVENT_TYPES, AftersaleAnswer, AftersaleKind, ReplacementKind, ScanStatus
from schemas.frames import RECORDS

DECODER = Decoder(b"a key for tests")
NOON = datetime(2026, 11, 11, 4, tzinfo=UTC)


def records_of(table: pl.DataFrame) -> pl.DataFrame:
    records = pl.DataFrame(
        {"value": None, "source": "a.parquet", "position": range(len(table)), "recorded_at": None}, schema=RECORDS
    )
    return records.with_columns(table.to_struct(GIVEN))


def check(table: pl.DataFrame) -> int:
    """Hold columns to what JSON says. Returns how many rows the models had to judge."""
    records = records_of(table)
    before = DECODER.handed_over
    events, letters = DECODER.decode(records)[:2]
    handed_over = DECODER.handed_over - before
    assert len(events) + len(letters) == len(table)
    expected = DECODER.decode(with_values(records))
    everything = [name for name, dtype in events.schema.items() if not isinstance(dtype, pl.List)]
    lists = [pl.col(name).list.join("\n").alias(name) for name in events.columns if name not in everything]
    assert_frame_equal(
        *(frame.with_columns(lists).sort(frame.columns, nulls_last=True) for frame in (events, expected.events))
    )
    assert_frame_equal(letters, expected.letters, check_row_order=False)
    return handed_over


ORDINARY = pl.DataFrame(
    {
        "type": ["scan", "order_paid", "address_changed", "waybill_replaced", "exemption_granted", "aftersale_opened"],
        "event_id": ["e1", None, "e3", None, None, None],
        "occurred_at": [NOON, NOON + timedelta(microseconds=1), NOON, NOON, NOON, NOON],
        "received_at": [None, NOON, None, None, NOON, None],
        "order_id": [None, "O1", "O2", None, "O3", "O4"],
        "platform": ["", "p", None, None, None, None],
        "merchant_id": [None, "m", None, None, None, None],
        "amount": [None, Decimal("12.50"), None, None, None, None],
        "ship_within_hours": [None, 48, None, None, None, None],
        "products": [None, ["a", "b"], None, None, None, []],
        "recipient": [None, {"name": "王小明", "phone": "13812345678"}, None, None, None, None],
        "address": [None, None, {"province": "浙江省", "text": ""}, None, None, None],
        "location": [{"city": "深圳市", "geo": 1.5}, None, None, {"city": None, "geo": None}, None, None],
        "carrier": ["sf", None, None, "sf", None, None],
        "waybill_no": ["SF1", None, None, "SF1", None, None],
        "new_carrier": [None, None, None, "yto", None, None],
        "new_waybill_no": [None, None, None, "YT1", None, None],
        "kind": [None, None, None, "transfer", None, "resend"],
        "status": pl.Series(["picked_up", *[None] * 5], dtype=pl.Categorical()),
        "rules": [None, None, None, None, ["*"], None],
        "region": pl.Series([None] * 6, dtype=pl.String),
        "aftersale_id": ["\0", None, None, None, None, "a1"],
        "description": ["快递员13812345678正在派送", None, None, None, None, None],
        "weight_kg": [1.5, None, float("nan"), None, None, None],
    },
    strict=False,
)


def test_ordinary_rows_are_read_in_columns() -> None:
    assert check(ORDINARY) == 0
    assert len(DECODER.decode(records_of(ORDINARY)).events) == len(ORDINARY)


# Any table at all ----------------------------------------------------------------------------------------------------

words = (
    st.just("a")
    | st.sampled_from(["", "顺丰", "x" * 128, "x" * 129, "中" * 43, "a\0", '"\\', "13812345678"])
    | st.text(max_size=4)
)
SOON = datetime.fromisoformat("2026-11-12T04:00:00")
TIME_EDGES = [
    SOON,
    SOON - timedelta(days=1),
    SOON + timedelta(microseconds=1),
    datetime.fromisoformat("1969-12-31T23:00:00"),
]
moments = st.datetimes(datetime.fromisoformat("0001-01-03"), datetime.fromisoformat("9999-12-29"))
CHOICES = {
    "status": [*ScanStatus], "kind": [*ReplacementKind, *AftersaleKind], "answer": [*AftersaleAnswer], "type": [*EVENT_TYPES],
    "amount": ["1", "12.50", "", "1e3", "-1", "1" * 41], "region": ["浙江省", None],
}  # fmt: skip
PARTS = {"recipient": ["name", "phone"], "address": ["city", "text", "x"], "location": ["city", "facility", "text"]}
TIMES = ("occurred_at", "received_at", "extended_to", "applies_from", "applies_until")
FIELDS = list(dict.fromkeys(field for model in EVENT_TYPES.values() for field in model.model_fields if field != "type"))


def values_of(field: str, dtype: pl.DataType) -> st.SearchStrategy[Any]:
    if isinstance(dtype, pl.Struct):
        return st.fixed_dictionaries({part.name: values_of(part.name, part.dtype) for part in dtype.fields}) | st.none()
    if isinstance(dtype, pl.List):
        return st.lists(words | st.none(), max_size=2) | st.just(["*"])
    if isinstance(dtype, pl.Datetime):
        any_time = moments if dtype.time_unit != "ns" else moments.filter(lambda moment: 1700 < moment.year < 2200)
        return st.just(SOON) | st.sampled_from(TIME_EDGES) | any_time
    if dtype in (pl.String, pl.Categorical):
        return st.sampled_from(CHOICES[field]) if field in CHOICES else words
    if isinstance(dtype, pl.Decimal):
        return st.decimals(-1, 99, places=2)
    return st.sampled_from([0, 1, 48, 2160, 2161, 2**31, 2**40])


def types_of(field: str) -> list[pl.DataType]:
    """The types of a column: the best first, which are taken mostly."""
    if field in TIMES:
        return [
            pl.Datetime("us", "UTC"),
            pl.Datetime("ns", "UTC"),
            pl.Datetime("ms", "Asia/Tokyo"),
            pl.Datetime("us"),
            pl.Int64(),
        ]
    if field in PARTS:
        names = PARTS[field]
        return [
            pl.Struct(dict.fromkeys(names, pl.String())),
            pl.Struct({names[0]: pl.Int64(), names[1]: pl.String()}),
            pl.String(),
        ]
    if field in ("rules", "products"):
        return [pl.List(pl.String()), pl.String()]
    if field == "ship_within_hours":
        return [pl.Int64(), pl.Int64(), pl.String()]
    if field == "amount":
        return [pl.String(), pl.Decimal(12, 2), pl.Int64()]
    return [pl.String(), pl.Categorical(), pl.Int64(), pl.Null()]


@st.composite
def tables(draw: st.DrawFn) -> pl.DataFrame:
    kinds = draw(st.lists(st.sampled_from([*EVENT_TYPES, "scam"]) | st.none(), min_size=1, max_size=4))
    columns = [pl.Series("type", kinds, pl.String)]
    for field in FIELDS:
        dtypes = types_of(field)
        dtype = draw(st.sampled_from(dtypes)) if draw(st.integers(0, 9)) == 0 else dtypes[0]
        value = values_of(field, dtype) if dtype != pl.Null else st.none()
        column = [draw(value | st.none()) if draw(st.booleans()) else draw(value) for _ in kinds]
        columns.append(pl.Series(field, column, dtype, strict=False))
    return pl.DataFrame(columns)


@given(tables())
def test_columns_and_json_agree_on_any_table(table: pl.DataFrame) -> None:
    check(table)


def test_a_text_that_is_not_utf8_costs_one_row(tmp_path: Path) -> None:
    offsets = pa.py_buffer(b"\0\0\0\0\2\0\0\0\3\0\0\0")
    waybills = pa.Array.from_buffers(pa.string(), 2, [None, offsets, pa.py_buffer(b"\xff\xfea")])
    moments = pa.array([NOON] * 2, pa.timestamp("us", "UTC"))
    table = {
        "type": ["scan"] * 2,
        "occurred_at": moments,
        "carrier": ["a", "b"],
        "waybill_no": waybills,
        "status": ["delivered"] * 2,
    }
    pq.write_table(pa.table(table), tmp_path / "a.parquet")
    batch = open_readers([tmp_path / "a.parquet"])[0].read()
    assert batch is not None
    events, letters = DECODER.decode(batch.records)[:2]
    assert (events["waybill_no"].to_list(), letters["position"].to_list()) == (["a"], [0])
