"""What an adapter is, and the parts that adapters are made of."""

import re
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta, timezone
from itertools import pairwise
from typing import Annotated, Any, ClassVar, Final, NamedTuple, TypeAlias, TypeVar
from zoneinfo import ZoneInfo

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    PlainValidator,
    StringConstraints,
    ValidationError,
    ValidationInfo,
    ValidatorFunctionWrapHandler,
    WrapValidator,
    model_validator,
)
from pydantic_core import ErrorDetails

from schemas.events import IDENTIFIER_CHARACTERS_MAX, Location, ScanStatus

CHINA: Final = ZoneInfo("Asia/Shanghai")

NO_SCAN: Final = "no_scan"
"""In place of a status: what an aggregator derives from elapsed time, or a word that no information is there."""

Status: TypeAlias = ScanStatus | str
"""A `ScanStatus`, or `NO_SCAN`."""

_NO_TIME_BEFORE: Final = datetime(2000, 1, 2, tzinfo=UTC)
"""Earlier times are the zero of somebody's calendar: 0001-01-01, 1970-01-01, 2000-01-01. They mean "none"."""
_MS_FROM: Final = 10**11
_US_FROM: Final = 10**14
_MOMENT_MAX: Final = datetime(9998, 1, 1, tzinfo=UTC)
_PLAIN: Final = re.compile(r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d", re.ASCII)
"""How most are written, and are read in a tenth of the time."""
_COMPACT: Final = re.compile(r"((?:19|20)\d\d)(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)")
_LOCAL: Final = re.compile(
    r"(\d{4})[-/.年](\d{1,2})[-/.月](\d{1,2})日?[ T]*(\d{1,2})[:：时](\d{1,2})(?:[:：分](\d{1,2})\d?秒?)?"
    r"(?:[.,](\d{1,9}))?\s*(?P<zone>Z|UTC|[+-]\d{2}:?\d{2})?",
    re.IGNORECASE,
)


# ------------------------------------------------------------------------------------------------------ what is in a payload


class Loose(BaseModel):
    """A part of a payload: unknown fields are ignored, a number may stand where a text is expected."""

    model_config = ConfigDict(extra="ignore", frozen=True, coerce_numbers_to_str=True, validate_by_name=True)


class Spelled(Loose):
    """A part whose fields are spelled in many ways (`LogisticCode`, `logisticCode`, `logistic_code`): all are understood."""

    @model_validator(mode="before")
    @classmethod
    def _as_declared(cls, given: Any) -> Any:
        if not isinstance(given, dict):
            return given
        names = {_folded(info.alias or name): info.alias or name for name, info in cls.model_fields.items()}
        return {names[key]: value for key, value in folded(given).items() if key in names}


def folded(given: Mapping[str, Any]) -> dict[str, Any]:
    """The same object with its keys in lower case and without `_`; of keys that become the same, the first one counts."""
    plain: dict[str, Any] = {}
    for key, value in given.items():
        plain.setdefault(_folded(key), value)
    return plain


def _folded(key: str) -> str:
    return key.replace("_", "").lower()


def _stripped(value: object) -> object:
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return value.strip() if isinstance(value, str) else value


Code = Annotated[str, BeforeValidator(_stripped), StringConstraints(min_length=1, max_length=IDENTIFIER_CHARACTERS_MAX)]
"""A number or a code that must be there; white space around it is not part of it, and JSON may hold it as a number."""

Row = TypeVar("Row", bound=BaseModel)


class RowFault(NamedTuple):
    """What is wrong with a row that was left out."""

    rows: list[Any]
    """The list that it is in, the very object."""
    path: tuple[int | str, ...]
    """From there on."""
    error: ErrorDetails


def _context(info: ValidationInfo) -> dict[str, Any]:
    assert isinstance(info.context, dict), "read by way of `schemas.carriers.convert`"
    return info.context


def _each(value: Any, handler: ValidatorFunctionWrapHandler, info: ValidationInfo) -> Any:
    """Read the rows one by one, and note those that cannot be read instead of failing for all."""
    if value is None or value == "":
        return []
    if not isinstance(value, list):
        return handler(value)
    good: list[Any] = []
    for number, item in enumerate(value):
        try:
            good += handler([item])
        except ValidationError as error:
            # Which list this is within the payload is only known outside.
            _context(info)["faults"] += [
                RowFault(value, (number, *each["loc"][1:]), each) for each in error.errors(include_url=False)
            ]
    return good


Rows: TypeAlias = Annotated[list[Row], WrapValidator(_each)]
"""The scans of a payload. One that cannot be read is a fault of the payload and does not take the others with it. Null is none."""


def _moment(value: object, info: ValidationInfo) -> datetime | None:
    """Read a time; without an offset it is one of the adapter's zone."""
    moment: datetime | None = None
    try:
        if isinstance(value, int | float) and not isinstance(value, bool):
            moment = _since_epoch(value)
        elif isinstance(value, str):
            moment = _written(value.strip(), _context(info)["zone"])
        else:
            raise ValueError("must be a time")  # noqa: TRY004  pydantic wants it
    except OverflowError:
        raise ValueError("is a time that does not exist") from None
    if moment is None or moment < _NO_TIME_BEFORE:
        return None
    if moment > _MOMENT_MAX:
        raise ValueError("is a time that does not exist")
    return moment


def _since_epoch(number: float) -> datetime:
    seconds = number / (1e6 if number >= _US_FROM else 1e3 if number >= _MS_FROM else 1)
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)


def _written(text: str, zone: ZoneInfo | None) -> datetime | None:
    if zone is not None and _PLAIN.fullmatch(text) and not text.startswith("000"):
        try:
            return datetime.fromisoformat(text).replace(tzinfo=zone).astimezone(UTC)
        except ValueError:
            raise ValueError("is a time that does not exist") from None
    match = _COMPACT.fullmatch(text) or _LOCAL.fullmatch(text)
    if match is None:
        if re.fullmatch(r"-?\d{1,16}(\.\d+)?", text):
            return _since_epoch(float(text))
        raise ValueError("must be a time such as 2026-11-11 09:30:00")
    year, month, day, hour, minute, second = (int(part or 0) for part in match.groups()[:6])
    if year <= 1:  # 0000-00-00, which is no day at all, and 0001-01-01
        return None
    offset, fraction = (match["zone"], match[7] or "") if match.re is _LOCAL else (None, "")
    where = _offset(offset) if offset else zone
    if where is None:
        raise ValueError("needs an offset such as +08:00")
    try:
        moment = datetime(year, month, day, hour, minute, second, int(fraction.ljust(6, "0")[:6]), tzinfo=where)
    except ValueError:
        raise ValueError("is a time that does not exist") from None
    return moment.astimezone(UTC)


def _offset(text: str) -> timezone:
    if text[0] not in "+-":
        return UTC
    minutes = int(text[1:3]) * 60 + int(text[-2:])
    return timezone(timedelta(minutes=-minutes if text[0] == "-" else minutes))


Moment = Annotated[datetime | None, PlainValidator(_moment)]
"""When something happened: written, with an offset or in the adapter's zone, or an epoch in s, ms or µs. None: a sentinel date.

It must be there: declare `Moment | None = None` where it may be missing.
"""


# ---------------------------------------------------------------------------------------------------- what adapters say of it


class Told(NamedTuple):
    """One line of a parcel's history, as its payload tells it. What it means is decided with the tables, for all alike."""

    carrier: str
    """The aggregator's code of the carrier, as it came."""
    number: str
    at: datetime | None
    """None: not told, or a sentinel; then nothing has happened."""
    text: str | None = None
    """What the carrier writes. Where a pattern knows it, it decides: codes are coarse, late or wrong."""
    code: str | None = None
    """Looked up in `Adapter.statuses`; decides where no pattern knows the text."""
    place: Location | None = None


class Renumbered(NamedTuple):
    """A parcel goes on under another number, or its number under another carrier."""

    carrier: str
    number: str
    new_carrier: str
    new_number: str
    at: datetime | None
    """As the same history always tells it: two pushes of it must give one fact. None: unknown, and then it is not told."""
    reason: str


class Adapter(ABC):
    """One format.

    Attributes:
        zone: Of times without an offset. None: such times are faults.
        statuses: The format's codes, of every level that `Told.code` may hold, to what they mean. A code that is not here,
            or means several things, leaves the decision to the text.
    """

    zone: ClassVar[ZoneInfo | None]
    statuses: ClassVar[Mapping[str, Status]] = {}

    @abstractmethod
    def document(self, node: Mapping[str, Any]) -> type[BaseModel] | None:
        """The model of this JSON object if its keys show that it is one of the format's documents. At most one adapter may say so.

        Documents are looked for from the outside in, also in lists and in the envelopes that people put around them; what is
        inside a document is not looked at again.
        """

    @abstractmethod
    def told(self, document: Any) -> Iterator[Told | Renumbered]:
        """What a document (of the type that `document` has named) tells, in any order.

        Raises:
            ValueError: It is not to be used; the message begins with the field at fault.
        """


_PLACEHOLDER_MIN: Final = 6


def refuse_placeholder(field: str, number: str) -> None:
    """Refuse what people type to try a system out. Aggregators mix strangers' parcels under such numbers.

    Raises:
        ValueError: It is one: 12345678, 87654321, 111111111111.
    """
    if len(number) >= _PLACEHOLDER_MIN and number.isdecimal() and _is_dull(number):
        raise ValueError(f"{field}: {number} is a placeholder, under which strangers' parcels are mixed")


def _is_dull(digits: str) -> bool:
    steps = {(int(after) - int(before)) % 10 for before, after in pairwise(digits)}
    return len(steps) == 1 and steps <= {0, 1, 9}


def place(**parts: str | None) -> Location | None:
    """A `Location` of the parts that are given, or none."""
    given = {name: text.strip() for name, text in parts.items() if text and text.strip()}
    return Location(**given) if given else None


def first(*texts: str | None) -> str | None:
    """The first text that is not empty."""
    return next((text.strip() for text in texts if text and text.strip()), None)


def joined(path: Sequence[int | str], said: str) -> str:
    """Put where a document lies before what is wrong within it."""
    return ".".join([*map(str, path), said])
