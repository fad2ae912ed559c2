"""What the formats of services abroad have in common."""

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Final
from zoneinfo import ZoneInfo

from pydantic import ValidatorFunctionWrapHandler, WrapValidator

from schemas.carriers._contract import Loose, Moment, Status

WORLD: Final = ZoneInfo("UTC")

_DAY: Final = re.compile(r"\d{4}-\d{1,2}-\d{1,2}")
_UPS: Final = re.compile(r"1Z[0-9A-Z]{16}")
_USPS: Final = re.compile(r"(420\d{5}(\d{4})?)?9[2-5]\d{20}")


def _told_or_not(value: object, handler: ValidatorFunctionWrapHandler) -> datetime | None:
    if value is None or (isinstance(value, str) and not value.strip()):
        return None
    if isinstance(value, str) and _DAY.fullmatch(value.strip()):
        value = f"{value.strip()} 00:00:00"
    at: datetime | None = handler(value)
    return at


Instant = Annotated[Moment, WrapValidator(_told_or_not)]
"""A `Moment` as services abroad have them: a mere day means its beginning; null and the empty text mean "none"."""


class Nothing(Loose):
    """A document that tells nothing of any parcel's way, such as an answer without results."""


def best(statuses: Mapping[str, Status], *codes: str | None) -> str | None:
    """The first of the codes, from the finest to the coarsest, that the table knows."""
    return next((code for code in codes if code in statuses), None)


def carrier_of_form(number: str) -> str | None:
    """The carrier that the form of a number betrays, where only one has such numbers."""
    plain = number.replace(" ", "").upper()
    return "ups" if _UPS.fullmatch(plain) else "usps" if _USPS.fullmatch(plain) else None


def has_rows(node: Mapping[str, Any], key: str, *columns: str) -> bool:
    """Whether `key` holds a list whose first row has all of these columns."""
    rows = node.get(key)
    return isinstance(rows, list) and bool(rows) and isinstance(rows[0], dict) and set(columns) <= rows[0].keys()


def unless_told(given: Any, key: str, *, told: bool) -> Any:
    """An object without what only repeats a part of its history, if that is there: a fault in it would be told for nothing."""
    return {name: value for name, value in given.items() if name != key} if told else given
