"""Tables of events, such as Parquet files with a column for each field: read as they are, or written as JSON for the models."""

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Final

import polars as pl
from polars.datatypes import DataTypeClass

from pipeline.forms import FORMS, PARTS, UNHASHED, asked_by_forms, checked, column_of, others
from schemas.frames import TIME

GIVEN: Final = "given"
"""Column of records that come from a table: what it holds in their row, as a struct. Their `value` is null."""

_NOWHERE: Final = ""
"""The column of what is not read."""
_FIELDS: Final = asked_by_forms(lambda form: [(field, field in form.refused) for field in form.members])
"""Fields, and whether they must not be given: the types that have them."""
_SECONDS_MAX: Final = int(datetime(9998, 1, 1, tzinfo=UTC).timestamp())
_A_SECOND: Final = {"ms": 10**3, "us": 10**6, "ns": 10**9}
_INTEGER_MAX: Final = 2**63 - 1
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
    fields = {"type", *(field for field, _ in _FIELDS)}
    rows = records.select("row", "recorded_at").hstack(table.select(name for name in table.columns if name in fields))
    if rows.schema["type"] not in _WORDS:
        return checked(rows.select("row"))
    rows = rows.with_columns(pl.col("type").cast(pl.String))
    known = rows["type"].is_in(list(FORMS)).fill_null(value=False)
    rows = rows if known.all() else rows.filter(known)
    are_others = others(rows["type"])
    told = [
        (column, value, certain, are_others(kinds))
        for (field, refused), kinds in _FIELDS.items()
        for column, value, certain in _values(field, rows.schema.get(field, pl.Null()), refused=refused)
    ]
    sound = pl.all_horizontal(pl.lit(value=True), *(certain | of_others for _, _, certain, of_others in told))
    strays = [
        (value.is_not_null() & of_others).any().alias(str(at)) for at, (_, value, _, of_others) in enumerate(told)
    ]
    certainly, *stray = rows.select(sound.alias("sound"), *strays)
    columns = defaultdict(list)
    for (column, value, _, of_others), found in zip(told, stray, strict=True):
        columns[column].append(pl.when(~of_others).then(value) if found.any() else value)
    columns.pop(_NOWHERE, None)
    read = rows.select(
        "row", "recorded_at", "type", **{column: pl.coalesce(values) for column, values in columns.items()}
    )
    return checked(read if certainly.all() else read.filter(certainly))


def _values(field: str, kind: DataTypeClass | pl.DataType, *, refused: bool) -> Iterator[tuple[str, pl.Expr, pl.Expr]]:
    """Say how a field is read: the column of each of its values, the value, and whether that is certainly right."""
    value = pl.col(field)
    if kind == pl.Null:
        return
    parts = {name: (value.struct.field(name), part) for name, part in kind} if isinstance(kind, pl.Struct) else {}
    if refused or (field in PARTS) != bool(parts):
        yield _NOWHERE, value, value.is_null() if refused else pl.lit(value=False)
        return
    members = {name: column_of(name) for name in PARTS[field].model_fields} if field in PARTS else {"": field}
    for name, (part, part_kind) in (parts or {"": (value, kind)}).items():
        if name in members and part_kind != pl.Null:
            reading = _reading(part, part_kind, members[name])
            yield (members[name], *reading) if reading else (_NOWHERE, part, pl.lit(value=False))


def _reading(value: pl.Expr, kind: DataTypeClass | pl.DataType, column: str) -> tuple[pl.Expr, pl.Expr] | None:
    """Say how values of a column are read, and of which that is certainly right; None if it has another type."""
    wanted = UNHASHED[column]
    if wanted == TIME and isinstance(kind, pl.Datetime) and kind.time_zone is not None:
        last = min(_SECONDS_MAX * _A_SECOND[kind.time_unit], _INTEGER_MAX)
        return value.cast(TIME), value.to_physical().is_between(0, last).fill_null(value=True)
    if wanted == pl.Int32 and kind.is_integer():
        return value.cast(pl.Int32, strict=False), value.is_between(*_INTEGERS).fill_null(value=True)
    if wanted == pl.String and (kind in _WORDS or (column == "amount" and kind.is_decimal())):
        text = value.cast(pl.String)
        return text, ~text.str.contains("\0", literal=True).fill_null(value=False)
    if wanted == pl.List(pl.String) and kind == pl.List(pl.String):
        return value, ~value.list.eval(pl.element().str.contains("\0", literal=True)).list.any().fill_null(value=False)
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
