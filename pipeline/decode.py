"""From messages to columns: `Decoder` reads JSON in batches, and loses none.

The pydantic models of `schemas.events` are the judge of every message, but one by one they are ten times slower than
columns. So a regular expression first proves of each message that it is of a plain kind, for which DuckDB's reading of the
JSON is certainly that of the models; what it does not prove goes to the models. Being too careful here costs time, never an event.
"""

import hashlib
import json
from collections.abc import Collection, Iterable, Mapping
from datetime import datetime
from enum import StrEnum
from typing import Any, Final, NamedTuple, get_args

import duckdb
import polars as pl
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from pipeline.formats import OUR_OWN, Formats
from pipeline.privacy import without_names, without_numbers
from places.regions import region_code
from schemas.events import (
    AHEAD_MAX,
    EVENT_TYPES,
    IDENTIFIER_CHARACTERS_MAX,
    Address,
    Event,
    ExemptionGranted,
    Location,
    Recipient,
    RejectedError,
)
from schemas.frames import EVENTS, LETTERS, RECORDS, TIME

_VOUCHED_BYTES_MAX: Final = 65_536
_PARTS: Final[dict[str, type[BaseModel]]] = {"recipient": Recipient, "address": Address, "location": Location}
_HASHES: Final = {"name_hash": "name", "phone_hash": "phone"}
_TEXTS: Final = ("detail", "place_text", "description", "facility", "reason")
_PROSE: Final = ("description", "reason")
"""Of these, those in which people are named."""

# ---------------------------------------------------------------------------------------------------------------------
# The plain messages: a regular subset of JSON in which nothing can be read in two ways. No escapes in keys, no NUL, no lone
# surrogates, no exponents or long numbers, no deep nesting; each known field has a value that its model accepts.
# ---------------------------------------------------------------------------------------------------------------------

_SPACE: Final = r"[ \t\r\n]*"
_LETTER: Final = r'[^"\\\x00-\x1f]'
_HEX: Final = "[0-9a-fA-F]"
_CHARACTER: Final = (
    rf'(?:{_LETTER}|\\["\\/bfnrt]|\\u(?:[1-9a-cefA-CEF]{_HEX}{{3}}|0[1-9a-fA-F]{_HEX}{{2}}|00[1-9a-fA-F]{_HEX}|000[1-9a-fA-F]'
    rf"|[dD][0-7]{_HEX}{{2}}|[dD][89abAB]{_HEX}{{2}}\\u[dD][c-fC-F]{_HEX}{{2}}))"
)
_TEXT: Final = f'"{_CHARACTER}*"'
_IDENTIFIER: Final = f'"{_CHARACTER}{{1,{IDENTIFIER_CHARACTERS_MAX}}}"'
_SCALAR: Final = rf"(?:{_TEXT}|-?(?:0|[1-9][0-9]{{0,14}})(?:\.[0-9]{{1,15}})?|true|false|null)"
# Real days only: a leap day counts as one in the leap years of 2000 to 2099.
_DAY: Final = (
    "20(?:[0-9]{2}-(?:(?:0[13578]|1[02])-(?:0[1-9]|[12][0-9]|3[01])|(?:0[469]|11)-(?:0[1-9]|[12][0-9]|30)"
    "|02-(?:0[1-9]|1[0-9]|2[0-8]))|(?:[02468][048]|[13579][26])-02-29)"
)
_CLOCK: Final = "(?:[01][0-9]|2[0-3]):[0-5][0-9]"
_TIME: Final = rf'"{_DAY}[T ]{_CLOCK}:[0-5][0-9](?:\.[0-9]{{1,9}})?(?:Z|[+-](?:0[0-9]|1[0-4]):[0-5][0-9])"'


def _either(words: Iterable[str]) -> str:
    return f"(?:{'|'.join(words)})"


def _list(value: str) -> str:
    return rf"\[{_SPACE}{value}{_SPACE}(?:,{_SPACE}{value}{_SPACE})*\]"


def _object(anything: str, known: Mapping[str, str] | None = None) -> str:
    """Describe an object whose `known` members have the given values, or null, and all others have `anything`."""
    known = known or {}
    members = [
        f'"{_either(k for k in known if known[k] == value)}":{_SPACE}(?:{value}|null)'
        for value in dict.fromkeys(known.values())
    ]
    member = _either([*members, f'"{_other_than(known)}":{_SPACE}{anything}']) + _SPACE
    return rf"\{{{_SPACE}(?:{member}(?:,{_SPACE}{member})*)?\}}"


def _other_than(words: Collection[str]) -> str:
    """Describe the keys that are none of `words`, letter by letter: regular expressions have no "not"."""
    firsts = sorted({word[0] for word in words if word})
    tails = [first + _other_than([word[1:] for word in words if word.startswith(first)]) for first in firsts]
    others = f"{_LETTER[:-1]}{''.join(firsts)}]{_LETTER}*"
    return _either([others, *tails] if "" in words else ["", others, *tails])


_DEEPER: Final = _either([_SCALAR, r"\[\]", r"\{\}", _list(_SCALAR), _object(_SCALAR)])
_ANYTHING: Final = _either([_SCALAR, r"\[\]", r"\{\}", _list(_DEEPER), _object(_DEEPER)])

_VALUES: Final[dict[str, str]] = {
    **dict.fromkeys(("occurred_at", "received_at", "extended_to"), _TIME),
    **dict.fromkeys(("event_id", "order_id", "platform", "merchant_id", "carrier", "waybill_no"), _IDENTIFIER),
    **dict.fromkeys(("new_carrier", "new_waybill_no", "category", "aftersale_id"), _IDENTIFIER),
    **dict.fromkeys(("description", "reason"), _TEXT),
    "amount": r'"[0-9]{1,20}(?:\.[0-9]{1,19})?"',
    "ship_within_hours": "(?:[1-9][0-9]{0,2}|1[0-9]{3}|20[0-9]{2}|21[0-5][0-9]|2160)",
    **dict.fromkeys(("rules", "products"), _list(rf'"[!#-\[\]-~]{{1,{IDENTIFIER_CHARACTERS_MAX}}}"')),
    **{name: _object(_SCALAR, dict.fromkeys(part.model_fields, _TEXT)) for name, part in _PARTS.items()},
}
"""The JSON values of each field that its model certainly accepts; all of them are null to the columns where JSON says so."""

_EXEMPTION_OF_MANY: Final = ("region", "applies_from", "applies_until")
"""Fields of exemptions whose meaning a pattern cannot check: where one is given, the model is asked."""


def _value(kind: str, field: str, info: FieldInfo) -> str:
    """Describe the JSON values of a field that its model certainly accepts: `_VALUES`, or the words it may be."""
    if kind == "exemption_granted" and field in _EXEMPTION_OF_MANY:
        return "null"
    for choice in (info.annotation, *get_args(info.annotation)):
        if isinstance(choice, type) and issubclass(choice, StrEnum):
            return f'"{_either(choice)}"'
    return f'"{kind}"' if field == "type" else _VALUES[field]


# ---------------------------------------------------------------------------------------------------------------------
# Plain messages in columns: one pattern and one query for each type of event, derived from its model.
# ---------------------------------------------------------------------------------------------------------------------

_UNHASHED: Final = pl.Schema({_HASHES.get(name, name): dtype for name, dtype in EVENTS.items()})
"""`EVENTS` with `name` and `phone` as they were given."""


def _column(field: str) -> str:
    return "place_text" if field == "text" else field


def _json_type(field: str) -> Any:
    if field in _PARTS:
        return dict.fromkeys(_PARTS[field].model_fields, "VARCHAR")
    types: dict[pl.DataType, Any] = {TIME: "TIMESTAMPTZ", pl.Int32(): "INTEGER", pl.List(pl.String): ["VARCHAR"]}
    return types.get(_UNHASHED[field], "VARCHAR")


_STRUCTURE: Final = {field: _json_type(field) for model in EVENT_TYPES.values() for field in model.model_fields}
_READING: Final = f"SELECT *, unnest(from_json(text, '{json.dumps(_STRUCTURE)}')) FROM plain"  # noqa: S608 (our own names)
"""Query from `plain` to a column for each field that any model has; null where a value is not of its type."""


class _Form:
    """What is plain for one type of event, and how to read it.

    Attributes:
        kind: The `type` of the events.
        pattern: Matches a message whose every field is certainly valid by itself.
        known_key: Matches each key that has the name of a field of the model, or of one of its parts.
        twice: Query for those `row` of `plain` in which a key occurs twice.
        present: Expression for the number of fields that are there and not null.
        columns: Expressions from the model's fields to the columns of `_UNHASHED`.
        complete: Expression on those columns: every required field is there.
    """

    def __init__(self, kind: str, model: type[BaseModel]) -> None:
        self.kind = kind
        fields = model.model_fields
        parts = {field: list(_PARTS[field].model_fields) for field in fields if field in _PARTS}
        values = {field: _value(kind, field, info) for field, info in fields.items()}
        self.pattern = f"^{_SPACE}{_object(_ANYTHING, values)}{_SPACE}$"

        objects = ["$", *(f"$.{field}" for field in parts)]
        self.twice = f"""
            SELECT row FROM plain
            WHERE len(list_filter(json_keys(text, {objects}), lambda k: len(k) <> len(list_distinct(k)))) > 0
        """  # noqa: S608 (made of names in our own models)

        inner = {field: {_column(name): pl.col(field).struct.field(name) for name in parts[field]} for field in parts}
        names = {*fields, *(name for part in parts.values() for name in part)}
        self.known_key = f'"{_either(sorted(names))}":'
        given = [pl.col(field) for field in fields] + [path for paths in inner.values() for path in paths.values()]
        self.present = pl.sum_horizontal(path.is_not_null() for path in given)
        flat = {field: pl.col(field) for field in fields if field not in parts}
        for paths in inner.values():
            flat |= paths
        self.names = list(flat)
        self.columns = [
            (pl.when(path != "").then(path) if _UNHASHED[name] == pl.String else path).alias(name)
            for name, path in flat.items()
        ]
        self.complete = pl.all_horizontal(
            pl.any_horizontal(pl.col(list(inner.get(field, [field]))).is_not_null())
            for field, info in fields.items()
            if info.is_required() or (kind, field) == ("exemption_granted", "order_id")
        )


_FORMS: Final = [_Form(kind, model) for kind, model in EVENT_TYPES.items()]


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
    plain = pl.col(name).str.normalize("NFKC").str.replace_all(r"[^\p{L}\p{M}\p{N}]", "")
    return pl.when(plain != "").then(plain).alias(name)


_HMAC_BLOCK_BYTES: Final = 64
_HMAC: Final = """
    CREATE MACRO keyed_hash(text) AS
        left(sha256(getvariable('outer_pad') || unhex(sha256(getvariable('inner_pad') || encode(text)))), 32)
"""
"""The first half of HMAC-SHA256, in hexadecimal."""
_HASHING: Final = "SELECT keyed_hash(name) AS name_hash, keyed_hash(phone) AS phone_hash FROM plain"


_ROW: Final = pl.get_index_type()


class Decoded(NamedTuple):
    """A batch, read. Every record has told events, or tells nothing, or is a letter, unless it was left out as received too late.

    Attributes:
        events: Valid events, `EVENTS`. A carrier's payload tells many.
        letters: What cannot be read, `LETTERS`. A payload that can be read in part is a letter, with events all the same: the
            letter keeps the rest of it.
        records: The batch as it came, `RECORDS`.
        rows: Of each event, which row of `records` told it.
    """

    events: pl.DataFrame
    letters: pl.DataFrame
    records: pl.DataFrame = RECORDS.to_frame()
    rows: pl.Series = pl.Series(dtype=_ROW)


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
        # One thread: a batch is one Arrow chunk, so that a second would have no work, and rows come out in the order they went in.
        self._database = duckdb.connect(config={"threads": 1})
        self._database.execute(
            "SET TimeZone = 'UTC'; SET arrow_output_version = '1.5'; SET produce_arrow_string_view = true"
        )
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
        slow = told.events
        events = pl.concat(
            [pl.DataFrame(schema={**EVENTS, "row": _ROW}), *map(self._discreet, filter(len, [*fast, slow]))],
            how="diagonal",
        )
        if until is not None:
            events = events.filter(pl.col("received_at") <= until)
        return Decoded(events.drop("row"), told.letters, records.drop("row"), events["row"])

    def _vouched(self, records: pl.DataFrame) -> list[pl.DataFrame]:
        """Read in columns what certainly is valid: for each type `row` and its columns of `_UNHASHED`."""
        texts = _texts(records.filter(pl.col("value").bin.size() <= _VOUCHED_BYTES_MAX))
        plain = []
        for number, form in enumerate(_FORMS):
            matches = texts["text"].str.contains(form.pattern)
            plain.append(texts.filter(matches).with_columns(form=pl.lit(number, pl.Int8)))
            texts = texts.filter(~matches)
        rows = self._sql(_READING, pl.concat(plain))
        return [self._checked(_FORMS[number], rows.filter(form=number)) for number in rows["form"].unique()]

    def _checked(self, form: _Form, rows: pl.DataFrame) -> pl.DataFrame:
        """Leave out messages with a fault that a pattern cannot see, and arrange the rest."""
        # With as many keys as fields present, none occurs twice. The first count is cheap and may be too high: of unknown
        # fields, and of `\":` in texts. The second takes known names only. After it, nulls remain, and what is really wrong.
        suspects = rows.select("row", "text", present=form.present)
        suspects = suspects.filter(pl.col("text").str.count_matches('":', literal=True) != pl.col("present"))
        suspects = suspects.filter(pl.col("text").str.count_matches(form.known_key) != pl.col("present"))
        if len(suspects):
            rows = rows.join(self._sql(form.twice, suspects), on="row", how="anti")
        return (
            rows.with_columns(form.columns)
            .with_columns(pl.coalesce("received_at", "recorded_at", "occurred_at"))
            .filter(form.complete, pl.col("occurred_at") - pl.col("received_at") <= AHEAD_MAX)
            .select("row", *form.names)
        )

    def _discreet(self, events: pl.DataFrame) -> pl.DataFrame:
        """Hash names and phones, and hide both in free text: `row` and columns of `_UNHASHED` to `row` and those of `EVENTS`."""
        events = events.with_columns(without_numbers(events[name]) for name in _TEXTS if name in events.columns)
        events = events.with_columns(without_names(events[name]) for name in _PROSE if name in events.columns)
        if "name" in events.columns:
            plain = events.select(_normalised("name"), _normalised("phone"))
            events = events.with_columns(self._sql(_HASHING, plain))  # in the same order
        return events.select("row", *(name for name in EVENTS if name in events.columns))

    def _sql(self, query: str, plain: pl.DataFrame) -> pl.DataFrame:
        self._database.register("plain", plain.to_arrow(compat_level=pl.CompatLevel.newest()))
        frame: pl.DataFrame = self._database.sql(query).pl()
        return frame


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
        events: `row` and columns of `_UNHASHED`.
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
            rows = [to_row(event) | {"row": row} for event in reading.events]
        except RejectedError as error:
            errors.append({"row": row, "error": str(error)})
            continue
        events += rows
        if reading.complaint:
            errors.append({"row": row, "error": reading.complaint})
        elif reading.events:
            telling.append(row)
    rejected = pl.DataFrame(errors, schema={"row": _ROW, "error": pl.String})
    letters = rejected.join(records, on="row", maintain_order="left").with_columns(raw=pl.col("value").fill_null(b""))
    silent = len(records) - len(errors) - len(telling)
    return _Told(
        pl.DataFrame(events, schema={"row": _ROW, **_UNHASHED}), letters.select(LETTERS.names()), telling, silent
    )
