"""What events are like in columns: `FORMS`, one for each type, derived from the models.

A form is more careful than its model: what it lets through, the model accepts, with the same values. The rest the model must see.
"""

from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Any, Final, get_args

import polars as pl
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from pipeline.shapes import Layout, Slot
from schemas.events import (
    AHEAD_MAX,
    EVENT_TYPES,
    IDENTIFIER_CHARACTERS_MAX,
    SHIP_WITHIN_HOURS_MAX,
    Address,
    Location,
    Recipient,
)
from schemas.frames import EVENTS, TIME

PARTS: Final[dict[str, type[BaseModel]]] = {"recipient": Recipient, "address": Address, "location": Location}
HASHES: Final = {"name_hash": "name", "phone_hash": "phone"}

UNHASHED: Final = pl.Schema({HASHES.get(name, name): dtype for name, dtype in EVENTS.items()})
"""`EVENTS` with `name` and `phone` as they were given."""

# ---------------------------------------------------------------------------------------------------------------------
# The plain messages: what a field must be like in columns, so that its model certainly accepts it.
# ---------------------------------------------------------------------------------------------------------------------


def _is_identifier(value: pl.Expr) -> pl.Expr:
    return value.str.len_bytes().is_between(1, IDENTIFIER_CHARACTERS_MAX)


def _are_identifiers(value: pl.Expr) -> pl.Expr:
    each = _is_identifier(pl.element()).fill_null(value=False)
    return (value.list.len() > 0) & value.list.eval(each).list.all()


_CHECKS: Final[dict[str, Callable[[pl.Expr], pl.Expr] | None]] = {
    **dict.fromkeys(("occurred_at", "received_at", "extended_to"), None),
    **dict.fromkeys(("event_id", "order_id", "platform", "merchant_id", "carrier", "waybill_no"), _is_identifier),
    **dict.fromkeys(("new_carrier", "new_waybill_no", "category", "aftersale_id"), _is_identifier),
    **dict.fromkeys(("description", "reason"), None),
    "amount": lambda value: value.str.contains(r"^[0-9]{1,20}(?:\.[0-9]{1,19})?$"),
    "ship_within_hours": lambda value: value.is_between(1, SHIP_WITHIN_HOURS_MAX),
    **dict.fromkeys(("rules", "products"), _are_identifiers),
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


def unless_empty(text: pl.Expr) -> pl.Expr:
    """Read an empty text as none."""
    return pl.when(text != "").then(text)


def column_of(field: str) -> str:
    """The column of a field, which may be one of a part."""
    return "place_text" if field == "text" else field


class Form:
    """What is plain for one type of event, derived from its model.

    Attributes:
        kind: The `type` of the events.
        members: The columns of each field, by name within it: of a part those of its own fields, else one without a name.
        refused: Fields that must not be given.
    """

    def __init__(self, kind: str, model: type[BaseModel]) -> None:
        self.kind = kind
        self.refused = _EXEMPTION_OF_MANY if kind == "exemption_granted" else ()
        fields = {name: info for name, info in model.model_fields.items() if name != "type"}
        self.members = {
            field: {name: column_of(name) for name in PARTS[field].model_fields} if field in PARTS else {"": field}
            for field in fields
        }
        checks = {name: _check(name, info) for name, info in fields.items() if name not in {*PARTS, *self.refused}}
        self._checks = {name: check(pl.col(name)) for name, check in checks.items() if check}
        self._required = [
            list(self.members[field].values())
            for field, info in fields.items()
            if info.is_required() or (kind, field) == ("exemption_granted", "order_id")
        ]

    def lay_out(self, told: Mapping[str, Any]) -> Layout | None:
        """Find the columns of `UNHASHED` in an object, see `LayOut`."""
        layout = Layout({}, {}, {}, {})
        for field, columns in self.members.items():
            given = told.get(field)
            if given is None:
                continue
            values = given if field in PARTS else {"": given}
            if field in self.refused or not isinstance(values, dict):
                return None
            for name, column in columns.items():
                value = values.get(name)
                if value is not None and not _put(layout, column, value):
                    return None
        return layout

    def checked(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Leave out rows that are not certainly valid, and arrange the rest: `row` and columns of `UNHASHED`.

        Args:
            rows: `row`, `recorded_at`, and what was given, each of its type.
        """
        given = [[name for name in names if name in rows.columns] for names in self._required]
        if not all(given):
            return rows.select("row").clear()
        texts = [name for name, dtype in rows.schema.items() if dtype == pl.String and name not in self._checks]
        rows = rows.with_columns(
            *(unless_empty(pl.col(name)) for name in texts if (rows[name] == "").any()),
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
    dtype = UNHASHED[column]
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


FORMS: Final = {kind: Form(kind, model) for kind, model in EVENT_TYPES.items()}
"""The forms by their `type`."""


def lay_out(kind: str, told: Mapping[str, Any]) -> Layout | None:
    """Find the columns of `UNHASHED` in any message, see `LayOut`."""
    return FORMS[kind].lay_out(told) if kind in FORMS else None
