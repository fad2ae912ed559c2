"""From messages to columns: `Decoder` reads JSON in batches, and loses none.

The pydantic models of `schemas.events` are the judge of every message, but one by one they are ten times slower than
columns. So a regular expression first proves of each message that it is of a plain kind, for which DuckDB's reading of the
JSON is certainly that of the models; what it does not prove goes to the models. Being too careful here costs time, never an event.
"""

import hashlib
from collections.abc import Callable, Mapping
from datetime import datetime
from enum import StrEnum
from typing import Any, Final, NamedTuple, get_args

import duckdb
import polars as pl
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from pipeline.buffers import BUFFER_BYTES_MAX
from pipeline.formats import OUR_OWN, Formats
from pipeline.privacy import discreet
from pipeline.shapes import Layout, Shapes, Slot
from places.regions import region_code
from schemas.events import (
    AHEAD_MAX,
    EVENT_TYPES,
    IDENTIFIER_CHARACTERS_MAX,
    SHIP_WITHIN_HOURS_MAX,
    Address,
    Event,
    ExemptionGranted,
    Location,
    Recipient,
    RejectedError,
)
from schemas.frames import EVENTS, LETTERS, TIME

_VOUCHED_BYTES_MAX: Final = 65_536
_PARTS: Final[dict[str, type[BaseModel]]] = {"recipient": Recipient, "address": Address, "location": Location}
_HASHES: Final = {"name_hash": "name", "phone_hash": "phone"}
_TEXTS: Final = ("detail", "place_text", "description", "facility", "reason")
_PROSE: Final = ("description", "reason")
"""Of these, those in which people are named."""

_UNHASHED: Final = pl.Schema({_HASHES.get(name, name): dtype for name, dtype in EVENTS.items()})
"""`EVENTS` with `name` and `phone` as they were given."""

# ---------------------------------------------------------------------------------------------------------------------
# The plain messages: what a field must be like in columns, so that its model certainly accepts it.
# ---------------------------------------------------------------------------------------------------------------------


def _is_identifier(value: pl.Expr) -> pl.Expr:
    return value.str.len_bytes().is_between(1, IDENTIFIER_CHARACTERS_MAX)


_CHECKS: Final[dict[str, Callable[[pl.Expr], pl.Expr] | None]] = {
    **dict.fromkeys(("occurred_at", "received_at", "extended_to"), None),
    **dict.fromkeys(("event_id", "order_id", "platform", "merchant_id", "carrier", "waybill_no"), _is_identifier),
    **dict.fromkeys(("new_carrier", "new_waybill_no", "category", "aftersale_id"), _is_identifier),
    **dict.fromkeys(("description", "reason"), None),
    "amount": lambda value: value.str.contains(r"^[0-9]{1,20}(?:\.[0-9]{1,19})?$"),
    "ship_within_hours": lambda value: value.is_between(1, SHIP_WITHIN_HOURS_MAX),
    **dict.fromkeys(("rules", "products"), lambda value: value.list.eval(_is_identifier(pl.element())).list.all()),
}
"""What a value of the right type must fulfil, unless it is null."""

_RECEIVED: Final = ("received_at", "recorded_at", "occurred_at")
"""When the platform learned of an event: the first of these that is given."""

_EXEMPTION_OF_MANY: Final = ("region", "applies_from", "applies_until")
"""Fields of exemptions whose meaning columns cannot check: where one is given, the model is asked."""


def _check(field: str, info: FieldInfo) -> Callable[[pl.Expr], pl.Expr] | None:
    """Say what the values of a field must fulfil: be words of its kind, or what `_CHECKS` asks."""
    for choice in (info.annotation, *get_args(info.annotation)):
        if isinstance(choice, type) and issubclass(choice, StrEnum):
            return lambda value: value.is_in(list(choice))
    return _CHECKS[field]


def _given(text: pl.Expr) -> pl.Expr:
    """Read an empty text as none."""
    return pl.when(text != "").then(text)


def _column(field: str) -> str:
    return "place_text" if field == "text" else field


class _Form:
    """What is plain for one type of event, derived from its model.

    Attributes:
        kind: The `type` of the events.
    """

    def __init__(self, kind: str, model: type[BaseModel]) -> None:
        self.kind = kind
        self._refused = _EXEMPTION_OF_MANY if kind == "exemption_granted" else ()
        fields = {name: info for name, info in model.model_fields.items() if name != "type"}
        self._members = {
            field: {name: _column(name) for name in _PARTS[field].model_fields} if field in _PARTS else {"": field}
            for field in fields
        }
        checks = {name: _check(name, info) for name, info in fields.items() if name not in {*_PARTS, *self._refused}}
        self._checks = {name: check(pl.col(name)) for name, check in checks.items() if check}
        self._required = [
            list(self._members[field].values())
            for field, info in fields.items()
            if info.is_required() or (kind, field) == ("exemption_granted", "order_id")
        ]

    def lay_out(self, told: Mapping[str, Any]) -> Layout | None:
        """Find the columns of `_UNHASHED` in an object, see `LayOut`."""
        layout = Layout({}, {}, {}, {})
        for field, columns in self._members.items():
            given = told.get(field)
            if given is None:
                continue
            values = given if field in _PARTS else {"": given}
            if field in self._refused or not isinstance(values, dict):
                return None
            for name, column in columns.items():
                value = values.get(name)
                if value is not None and not _put(layout, column, value):
                    return None
        return layout

    def checked(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Leave out rows that are not certainly valid, and arrange the rest: `row` and columns of `_UNHASHED`.

        Args:
            rows: `row`, `recorded_at`, and what was given, each of its type.
        """
        given = [[name for name in names if name in rows.columns] for names in self._required]
        if not all(given):
            return rows.select("row").clear()
        texts = [name for name, dtype in rows.schema.items() if dtype == pl.String and name not in self._checks]
        rows = rows.with_columns(
            *(_given(pl.col(name)) for name in texts if (rows[name] == "").any()),
            received_at=pl.coalesce(name for name in _RECEIVED if name in rows.columns),
        )
        valid = rows.select(
            pl.all_horizontal(
                pl.col("occurred_at") - pl.col("received_at") <= AHEAD_MAX,
                *(pl.any_horizontal(pl.col(names).is_not_null()) for names in given),
                *(check.fill_null(value=True) for name, check in self._checks.items() if name in rows.columns),
            )
        ).to_series()
        rows = rows if valid.all() else rows.filter(valid)
        return rows.drop("recorded_at").with_columns(type=pl.lit(self.kind))


def _put(layout: Layout, column: str, value: object) -> bool:
    """Add a column to a layout, if the value is what such a column is made of."""
    dtype = _UNHASHED[column]
    if isinstance(dtype, pl.List):
        if not isinstance(value, list) or not value or not all(isinstance(item, Slot) for item in value):
            return False
        layout.lists[column] = value
        return not any(item.is_number for item in value)
    if not isinstance(value, Slot):
        return False
    columns = {TIME: layout.times, pl.Int32(): layout.integers}.get(dtype, layout.texts)
    columns[column] = value
    return value.is_number == (dtype == pl.Int32)


_FORMS: Final = {kind: _Form(kind, model) for kind, model in EVENT_TYPES.items()}


def _lay_out(kind: str, told: Mapping[str, Any]) -> Layout | None:
    return _FORMS[kind].lay_out(told) if kind in _FORMS else None


def to_row(event: Event) -> dict[str, Any]:
    """Lay out an event as a row: the columns of `EVENTS`, except that `name` and `phone` are as given, not hashed.

    Raises:
        RejectedError: It is an exemption of a region that does not exist, or may be several.
    """
    row: dict[str, Any] = {}
    for field, value in event:
        row |= {_column(name): part for name, part in value} if isinstance(value, BaseModel) else {field: value}
    if isinstance(event, ExemptionGranted) and event.order_id is None and event.region is not None:
        try:
            row["division"] = int(region_code(event.region))
        except ValueError as error:
            raise RejectedError(f"region: {error}") from None
    return row


# ---------------------------------------------------------------------------------------------------------------------
# What must not leave this room.
# ---------------------------------------------------------------------------------------------------------------------


def _normalised(name: str) -> pl.Expr:
    """Reduce a name or a number to what makes it the same: no white space, punctuation or full-width forms."""
    return _given(pl.col(name).str.normalize("NFKC").str.replace_all(r"[^\p{L}\p{M}\p{N}]", "")).alias(name)


_HMAC_BLOCK_BYTES: Final = 64
_HMAC: Final = """
    CREATE MACRO keyed_hash(text) AS
        left(sha256(getvariable('outer_pad') || unhex(sha256(getvariable('inner_pad') || encode(text)))), 32)
"""
"""The first half of HMAC-SHA256, in hexadecimal."""
_HASHING: Final = "SELECT keyed_hash(name) AS name_hash, keyed_hash(phone) AS phone_hash FROM plain"


class Decoded(NamedTuple):
    """A batch, read. Every record has told events, or tells nothing, or is a letter, unless it was left out as received too late.

    Attributes:
        events: Valid events, `EVENTS`. A carrier's payload tells many.
        letters: What cannot be read, `LETTERS`. A payload that can be read in part is a letter, with events all the same: the
            letter keeps the rest of it.
    """

    events: pl.DataFrame
    letters: pl.DataFrame


class Decoder:
    """Reads batches of records. For one thread at a time.

    Args:
        hash_key: The secret that keeps hashed names and phones from being guessed.
        formats: What each source was declared as; without it, all hold events of our own.

    Attributes:
        handed_over: Records so far that columns could not vouch for, so that they were judged one by one.
        silent: Records so far that are valid and tell nothing: pushes with an empty history.
    """

    def __init__(self, hash_key: bytes, formats: Formats = OUR_OWN) -> None:
        self.handed_over = self.silent = 0
        self._formats = formats
        self._shapes = Shapes(_lay_out)
        # One thread: the names of a batch are one Arrow chunk, and rows come out in the order they went in.
        self._database = duckdb.connect(config={"threads": 1})
        self._database.execute("SET arrow_output_version = '1.5'; SET produce_arrow_string_view = true")
        key = hashlib.sha256(hash_key).digest() if len(hash_key) > _HMAC_BLOCK_BYTES else hash_key
        inner, outer = (bytes(byte ^ pad for byte in key.ljust(_HMAC_BLOCK_BYTES, b"\0")) for pad in (0x36, 0x5C))
        # Variables, not literals: a query that fails is quoted in the message.
        self._database.execute("SET VARIABLE inner_pad = $1", [inner]).fetchall()
        self._database.execute("SET VARIABLE outer_pad = $1", [outer]).fetchall()
        self._database.execute(_HMAC)

    def decode(self, records: pl.DataFrame, until: datetime | None = None) -> Decoded:
        """Read a batch.

        Args:
            records: `RECORDS`. A null value is an empty message.
            until: Leave out events received later than this (aware).
        """
        records = records.with_row_index("row")
        own, foreign = self._formats.separated(records)
        fast = self._vouched(own)
        rows = pl.concat([records.select("row").clear(), *(frame.select("row") for frame in fast)])
        rest = own.join(rows, on="row", how="anti")
        told = _judged(pl.concat([rest, foreign]), self._formats)
        self.handed_over += len(rest)
        self.silent += told.silent
        assert len(rows) + len(told.telling) + len(told.letters) + told.silent == len(records)
        hashed = [self._hashed(frame) for frame in (*fast, told.events) if len(frame)]
        events = pl.concat([pl.DataFrame(schema=EVENTS), *hashed], how="diagonal")
        events = events.with_columns(discreet(events[name], prose=name in _PROSE) for name in _TEXTS)
        if until is not None:
            events = events.filter(pl.col("received_at") <= until)
        return Decoded(events, told.letters)

    def _vouched(self, records: pl.DataFrame) -> list[pl.DataFrame]:
        """Read in columns what certainly is valid: for each type `row` and its columns of `_UNHASHED`."""
        texts = _texts(records.filter(pl.col("value").bin.size() <= _VOUCHED_BYTES_MAX))
        frames = []
        for part in _parts(texts):
            for cut in self._shapes.cut(part["text"]):
                rows = part.select("row", "recorded_at")[cut.rows]
                frames.append(_FORMS[cut.type].checked(rows.hstack(cut.columns)))
        return frames

    def _hashed(self, events: pl.DataFrame) -> pl.DataFrame:
        """Hash names and phones: columns of `_UNHASHED` to those of `EVENTS`."""
        names = [name for name in _HASHES.values() if name in events.columns]
        if names:
            plain = events.select(
                _normalised(name) if name in names else pl.lit(None, pl.String).alias(name) for name in _HASHES.values()
            )
            self._database.register("plain", plain.to_arrow(compat_level=pl.CompatLevel.newest()))
            events = events.with_columns(self._database.sql(_HASHING).pl())  # in the same order
        return events.select(name for name in EVENTS if name in events.columns)


def _parts(texts: pl.DataFrame) -> list[pl.DataFrame]:
    """Part messages so that each part has room in a buffer."""
    parts = texts.with_columns(part=pl.col("text").str.len_bytes().cum_sum() // BUFFER_BYTES_MAX)
    if parts["part"].max() in {None, 0}:
        return [texts] if len(texts) else []
    return parts.partition_by("part", include_key=False)


def _texts(records: pl.DataFrame) -> pl.DataFrame:
    """Give the `value` of those records that are UTF-8 as `text`."""
    text = pl.col("value").cast(pl.String).alias("text")
    try:
        return records.select("row", "recorded_at", text)
    except pl.exceptions.ComputeError:  # it says neither how many nor which
        utf8 = pl.Series([_is_utf8(value) for value in records["value"]], dtype=pl.Boolean)
        return records.filter(utf8).select("row", "recorded_at", text)


def _is_utf8(value: bytes) -> bool:
    try:
        value.decode()
    except UnicodeDecodeError:
        return False
    return True


class _Told(NamedTuple):
    """What models say of records.

    Attributes:
        events: Columns of `_UNHASHED`.
        letters: `LETTERS`, each of another record.
        telling: The rows of the records that tell events and are no letters.
        silent: How many records tell nothing.
    """

    events: pl.DataFrame
    letters: pl.DataFrame
    telling: list[int]
    silent: int


def _judged(records: pl.DataFrame, formats: Formats) -> _Told:
    """Let the models judge records one by one."""
    events: list[dict[str, Any]] = []
    errors: list[dict[str, Any]] = []
    telling: list[int] = []
    for row, value, recorded_at, source in records.select("row", "value", "recorded_at", "source").iter_rows():
        try:
            reading = formats.read(source, value or b"", recorded_at)
            rows = [to_row(event) for event in reading.events]
        except RejectedError as error:
            errors.append({"row": row, "error": str(error)})
            continue
        events += rows
        if reading.complaint:
            errors.append({"row": row, "error": reading.complaint})
        elif reading.events:
            telling.append(row)
    rejected = pl.DataFrame(errors, schema={"row": pl.get_index_type(), "error": pl.String})
    letters = rejected.join(records, on="row", maintain_order="left").with_columns(raw=pl.col("value").fill_null(b""))
    silent = len(records) - len(errors) - len(telling)
    return _Told(pl.DataFrame(events, schema=_UNHASHED), letters.select(LETTERS.names()), telling, silent)
