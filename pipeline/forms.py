"""What events are like in columns: `FORMS`, one for each type, derived from the models.

A form is more careful than its model: what it lets through, the model accepts, with the same values. The rest the model must see.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from enum import StrEnum
from functools import cache
from typing import Any, Final, get_args

import numpy as np
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
            return _is_one_of(choice)
    return _CHECKS[field]


@cache
def _is_one_of(choice: type[StrEnum]) -> Callable[[pl.Expr], pl.Expr]:
    return lambda value: value.is_in(list(choice))


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
        checks: What values must fulfil, by their column.
        required: Columns of which at least one must be given.
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
        self.checks = {name: check for name, check in checks.items() if check}
        self.required = [
            tuple(self.members[field].values())
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


def asked_by_forms(asked: Callable[[Form], Iterable[Any]]) -> dict[Any, frozenset[str]]:
    """What forms ask, and of which types."""
    kinds = defaultdict(set)
    for kind, form in FORMS.items():
        for each in asked(form):
            kinds[each].add(kind)
    return {each: frozenset(of) for each, of in kinds.items()}


_CHECKED: Final = [
    (name, check(pl.col(name)), kinds)
    for (name, check), kinds in asked_by_forms(lambda form: form.checks.items()).items()
]
_CHECKED_IN_TWO_WAYS: Final = {name for name, count in Counter(name for name, _, _ in _CHECKED).items() if count > 1}
_REQUIRED: Final = asked_by_forms(lambda form: form.required)
_KINDS: Final = pl.Enum(list(FORMS))
_FREE_TEXTS: Final = {name for name, dtype in UNHASHED.items() if dtype == pl.String}.difference(
    ("type", *(name for name, _, _ in _CHECKED))
)
"""Columns in which an empty text is none."""
_NOT_GIVEN: Final = {name: pl.lit(None, dtype).alias(name) for name, dtype in UNHASHED.items()}


def checked(rows: pl.DataFrame) -> pl.DataFrame:
    """Leave out rows that are not certainly valid, and arrange the rest: `row` and `UNHASHED`.

    Args:
        rows: `row`, `recorded_at`, `type`, and of `UNHASHED` what was given: in each row only what its form has.
    """
    if "occurred_at" not in rows.columns:
        return pl.DataFrame(schema={"row": rows.schema["row"], **UNHASHED})
    free = [name for name in rows.columns if name in _FREE_TEXTS]
    empty = rows.select((pl.col(free) == "").any()).row(0) if free and len(rows) else ()
    rows = rows.with_columns(unless_empty(pl.col(name)) for name, some in zip(free, empty, strict=False) if some)
    received = pl.coalesce(name for name in _RECEIVED if name in rows.columns)
    valid = rows.select(pl.all_horizontal(_conditions(rows, received))).to_series()
    rows = rows if valid.all() else rows.filter(valid)
    given = {**{name: pl.col(name) for name in rows.columns}, "received_at": received}
    return rows.select("row", **{name: given.get(name, absent) for name, absent in _NOT_GIVEN.items()})


def others(types: pl.Series) -> Callable[[frozenset[str]], pl.Expr]:
    """Give a function of types that tells which rows are of others, none of them unknown."""
    numbers = types.cast(_KINDS).to_physical().to_numpy()
    kinds = _KINDS.categories.to_list()
    present = {kinds[number] for number in np.flatnonzero(np.bincount(numbers))}

    @cache
    def are_others(asked: frozenset[str]) -> pl.Expr:
        if not asked & present or present <= asked:
            return pl.lit(not asked & present)
        return pl.lit(pl.Series(np.array([kind not in asked for kind in kinds])[numbers]))

    return are_others


def _conditions(rows: pl.DataFrame, received: pl.Expr) -> Iterator[pl.Expr]:
    """What must hold of rows: what is asked of other types holds."""
    are_others = others(rows["type"])
    yield pl.col("occurred_at") - received <= AHEAD_MAX
    required = _REQUIRED.copy()
    for name, check, kinds in _CHECKED:
        if name not in rows.columns:
            continue
        if name in _CHECKED_IN_TWO_WAYS:
            yield check.fill_null(value=True) | are_others(kinds)
        else:
            yield check.fill_null(are_others(required.pop((name,), frozenset())))
    for names, kinds in required.items():
        yield pl.any_horizontal(
            are_others(kinds), *(pl.col(name).is_not_null() for name in names if name in rows.columns)
        )


def lay_out(kind: str, told: Mapping[str, Any]) -> Layout | None:
    """Find the columns of `UNHASHED` in any message, see `LayOut`."""
    return FORMS[kind].lay_out(told) if kind in FORMS else None
