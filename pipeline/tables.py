"""Tables of events, such as Parquet files with a column for each field: read as they are, or written as JSON for the models."""

import json
from collections.abc import Mapping, Sequence
from typing import Final

import polars as pl
from polars.datatypes import DataTypeClass

from pipeline.forms import FORMS, PARTS, UNHASHED, Form, checked
from schemas.events import EVENT_TYPES
from schemas.frames import TIME

GIVEN: Final = "given"
"""Column of records that come from a table: what it holds in their row, as a struct. Their `value` is null."""

_FIELDS: Final = {field for model in EVENT_TYPES.values() for field in model.model_fields}
_YEARS: Final = (1970, 9997)
_INTEGERS: Final = (-(2**31), 2**31 - 1)
_WORDS: Final = (pl.String, pl.Categorical, pl.Enum)


def with_values(records: pl.DataFrame) -> pl.DataFrame:
    """Write what was `GIVEN` as JSON: plain records, with a value each."""
    if GIVEN not in records.columns:
        return records
    return records.with_columns(json_rows(records[GIVEN].struct.unnest()).alias("value")).drop(GIVEN)


def vouched(records: pl.DataFrame) -> pl.DataFrame:
    """Read in columns what certainly is valid: `row` and `UNHASHED`.

    Args:
        records: `row`, `recorded_at`, and what was `GIVEN`.
    """
    table = records[GIVEN].struct.unnest()
    rows = records.select("row", "recorded_at").hstack(table.select(name for name in table.columns if name in _FIELDS))
    if rows.schema["type"] not in _WORDS:
        return checked(rows.select("row"))
    rows = rows.with_columns(pl.col("type").cast(pl.String))
    kinds = rows["type"].unique().drop_nulls()
    read = [_read(FORMS[kind], rows.filter(pl.col("type") == kind)) for kind in kinds if kind in FORMS]
    return checked(pl.concat([rows.select("row").clear(), *read], how="diagonal", rechunk=True))


def _read(form: Form, rows: pl.DataFrame) -> pl.DataFrame:
    """Read rows of one type; none, if a column has another type than its field."""
    columns, sound = {}, []
    for field, members in form.members.items():
        value, kind = pl.col(field), rows.schema.get(field, pl.Null())
        if kind == pl.Null:
            continue
        if field in form.refused:
            sound.append(value.is_null())
            continue
        parts = {name: (value.struct.field(name), part) for name, part in kind} if isinstance(kind, pl.Struct) else {}
        if (field in PARTS) != bool(parts):
            return rows.select("row").clear()
        for name, (part, part_kind) in (parts or {"": (value, kind)}).items():
            if name not in members or part_kind == pl.Null:
                continue
            reading = _reading(part, part_kind, members[name])
            if reading is None:
                return rows.select("row").clear()
            columns[members[name]], certain = reading
            sound.append(certain.fill_null(value=True))
    return rows.filter(sound).select("row", "recorded_at", "type", **columns)


def _reading(value: pl.Expr, kind: DataTypeClass | pl.DataType, column: str) -> tuple[pl.Expr, pl.Expr] | None:
    """Say how values of a column are read, and of which that is certainly right; None if it has another type."""
    wanted = UNHASHED[column]
    if wanted == TIME and isinstance(kind, pl.Datetime) and kind.time_zone is not None:
        return value.cast(TIME), value.dt.year().is_between(*_YEARS)
    if wanted == pl.Int32 and kind.is_integer():
        return value.cast(pl.Int32, strict=False), value.is_between(*_INTEGERS)
    if wanted == pl.String and (kind in _WORDS or (column == "amount" and kind.is_decimal())):
        text = value.cast(pl.String)
        return text, ~text.str.contains("\0", literal=True)
    if wanted == pl.List(pl.String) and kind == pl.List(pl.String):
        return value, ~value.list.eval(pl.element().str.contains("\0", literal=True)).list.any()
    return None


def json_rows(frame: pl.DataFrame) -> pl.Series:
    """Write each row as a JSON object, without its nulls."""
    text = _json_object([pl.col(name) for name in frame.columns], frame.schema)
    return frame.select(value=text).to_series().cast(pl.Binary())


def _json_object(fields: Sequence[pl.Expr], kinds: Mapping[str, DataTypeClass | pl.DataType]) -> pl.Expr:
    members = [
        (pl.lit(json.dumps(name) + ":") + _json(field, kind))
        for field, (name, kind) in zip(fields, kinds.items(), strict=True)
    ]
    return pl.concat_str(pl.lit("{"), pl.concat_str(members, separator=",", ignore_nulls=True), pl.lit("}"))


def _json(value: pl.Expr, kind: DataTypeClass | pl.DataType) -> pl.Expr:
    """Write a value as JSON; null stays null.

    Decimals become strings, as `amount` is one. A time keeps its offset, or the lack of one.
    """
    if isinstance(kind, pl.Struct):
        fields = dict(kind)
        text = _json_object([value.struct.field(name) for name in fields], fields)
        return pl.when(value.is_not_null()).then(text)
    if isinstance(kind, pl.Datetime):
        value = value.dt.strftime("%Y-%m-%dT%H:%M:%S%.f" + ("%:z" if kind.time_zone else ""))
    elif isinstance(kind, (pl.Binary, pl.Categorical, pl.Enum)):
        value = value.cast(pl.String())
    wrapped = pl.struct(value.alias("v")).struct.json_encode()
    return pl.when(value.is_not_null()).then(wrapped.str.strip_prefix('{"v":').str.head(-1))
