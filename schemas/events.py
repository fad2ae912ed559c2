"""The events that parcelwatch takes in: one JSON object each, told apart by `type`.

These models are the judge of what a valid event is. They are strict (no number passes for a string, no `48.0` for `48`),
ignore fields they do not know, and name the faulty field in plain words. In JSON an optional field may be null, and an
empty free text means the same: not given.
"""

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Annotated, Any, Final, Literal, Self, TypeAlias, get_args

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    PlainSerializer,
    PlainValidator,
    StringConstraints,
    TypeAdapter,
    ValidationError,
    WithJsonSchema,
    model_validator,
)
from pydantic_core import ErrorDetails

IDENTIFIER_CHARACTERS_MAX: Final = 128
SHIP_WITHIN_HOURS_MAX: Final = 2160
AMOUNT_CHARACTERS_MAX: Final = 40
AHEAD_MAX: Final = timedelta(hours=24)
"""How long after `received_at` an event may claim to have happened: carriers' clocks are wrong by hours, not by days."""

_MOMENT_MAX: Final = datetime(9999, 1, 1, tzinfo=UTC)  # room to add limits to any time without an overflow
_SHOWN_CHARACTERS_MAX: Final = 40
_TIME: Final = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ](?:[01][0-9]|2[0-3]):[0-9]{2}:[0-9]{2}(?:\.[0-9]+)?"
    r"(?P<zone>[Zz]|[+-](?:[01][0-9]|2[0-3]):[0-5][0-9])?"
)


class RejectedError(ValueError):
    """A message that is no valid event. Its text is short and names each faulty field and what was wrong."""


def _moment(value: object) -> datetime:
    """Read an RFC 3339 time; digits beyond the microsecond are cut off, so that a time never moves into the future."""
    if isinstance(value, datetime) and value.tzinfo is not None:
        return _in_range(value)
    match = _TIME.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise ValueError("must be a time such as 2026-11-11T09:30:00+08:00")
    if match["zone"] is None:
        raise ValueError("needs an offset such as +08:00")
    try:
        moment = datetime.fromisoformat(match[0].upper())
    except ValueError:
        raise ValueError("is a time that does not exist") from None
    return _in_range(moment)


def _in_range(moment: datetime) -> datetime:
    try:
        moment = moment.astimezone(UTC)
    except OverflowError:
        moment = _MOMENT_MAX
    if moment >= _MOMENT_MAX:
        raise ValueError("must be in the years 1 to 9998")
    return moment


def _without_nul(value: str) -> str:
    if "\0" in value:
        raise ValueError("must not contain a NUL character")
    return value


def _given(value: str | None) -> str | None:
    """Read an empty text as none. NUL, which many tools cut strings at, is dropped: no fact is worth losing for it."""
    return (value.replace("\0", "") or None) if value else None


Time = Annotated[
    datetime,
    PlainValidator(_moment),
    PlainSerializer(datetime.isoformat, return_type=str, when_used="json"),
    WithJsonSchema({"type": "string", "format": "date-time", "description": "RFC 3339 with an offset"}),
]
"""A moment, RFC 3339 with an offset in JSON, in UTC here."""

Identifier = Annotated[
    str, StringConstraints(min_length=1, max_length=IDENTIFIER_CHARACTERS_MAX), AfterValidator(_without_nul)
]
"""A name that is compared, never interpreted: not empty, at most 128 characters."""

Text = Annotated[str | None, AfterValidator(_given)]
"""Free text; empty means not given."""

Identifiers = Annotated[list[Identifier], Field(min_length=1, fail_fast=True)]
"""Several names, at least one."""

Amount = Annotated[str, StringConstraints(max_length=AMOUNT_CHARACTERS_MAX, pattern=r"^[0-9]+(\.[0-9]+)?$")]
"""A decimal number of at least 0, as a string so that no digit is lost."""


class ScanStatus(StrEnum):
    """What a carrier reports about a parcel."""

    INFO_RECEIVED = "info_received"
    PICKED_UP = "picked_up"
    IN_TRANSIT = "in_transit"
    ARRIVED_AT_FACILITY = "arrived_at_facility"
    DEPARTED_FACILITY = "departed_facility"
    CUSTOMS = "customs"
    OUT_FOR_DELIVERY = "out_for_delivery"
    AVAILABLE_FOR_PICKUP = "available_for_pickup"
    DELIVERED = "delivered"
    DELIVERY_FAILED = "delivery_failed"
    EXCEPTION = "exception"
    RETURNING = "returning"
    RETURNED = "returned"
    FORWARDED = "forwarded"
    CANCELLED = "cancelled"


class ReplacementKind(StrEnum):
    """Why a parcel travels on under another number."""

    TRANSFER = "transfer"
    """It was handed to another carrier."""
    CORRECTION = "correction"
    """The number that was uploaded was wrong."""


class AftersaleKind(StrEnum):
    """What the buyer asks for."""

    REFUND_ONLY = "refund_only"
    RETURN_REFUND = "return_refund"
    RESEND = "resend"


class AftersaleAnswer(StrEnum):
    """What the merchant answers."""

    AGREED = "agreed"
    REJECTED = "rejected"


class _Strict(BaseModel):
    model_config = ConfigDict(strict=True, frozen=True, extra="ignore")


class Recipient(_Strict):
    """Who a parcel is for. Only keyed hashes of it are ever kept."""

    name: Text = None
    phone: Text = None


class Address(_Strict):
    """Where a parcel is to go: in parts, or as `text` in one line."""

    province: Text = None
    city: Text = None
    district: Text = None
    detail: Text = None
    text: Text = None


class Location(_Strict):
    """Where a parcel was scanned: in parts, or as `text` in one line."""

    country: Text = None
    province: Text = None
    city: Text = None
    district: Text = None
    facility: Text = None
    text: Text = None


def _not_empty(address: Address) -> Address:
    if address == Address():
        raise ValueError("must give at least one part of an address")
    return address


class _Event(_Strict):
    """What all events have.

    Attributes:
        occurred_at: When it happened.
        received_at: When the platform learned of it. `parse` fills it in where it was not given.
        event_id: For tracing only; two events of one content are one fact whatever their ids.
    """

    occurred_at: Time
    received_at: Time | None = None
    event_id: Identifier | None = None


class OrderPaid(_Event):
    """A buyer has paid: from now on the merchant has to ship.

    `category` names what the platform's shipping times distinguish: a merchandise category, or a way of selling (presale).
    """

    type: Literal["order_paid"]
    order_id: Identifier
    platform: Identifier
    merchant_id: Identifier
    amount: Amount | None = None
    ship_within_hours: Annotated[int, Field(ge=1, le=SHIP_WITHIN_HOURS_MAX)] | None = None
    category: Identifier | None = None
    products: Identifiers | None = None
    recipient: Recipient | None = None
    address: Address | None = None


class WaybillUploaded(_Event):
    """The merchant has declared an order shipped under a waybill number."""

    type: Literal["waybill_uploaded"]
    order_id: Identifier
    carrier: Identifier
    waybill_no: Identifier


class Scan(_Event):
    """The carrier has reported what happened to a parcel."""

    type: Literal["scan"]
    carrier: Identifier
    waybill_no: Identifier
    status: ScanStatus
    location: Location | None = None
    description: Text = None


class OrderCancelled(_Event):
    """The order is off: what has not been missed by now cannot be missed any more."""

    type: Literal["order_cancelled"]
    order_id: Identifier
    reason: Text = None


class AddressChanged(_Event):
    """The buyer wants the parcel elsewhere; the whole address is replaced."""

    type: Literal["address_changed"]
    order_id: Identifier
    address: Annotated[Address, AfterValidator(_not_empty)]
    recipient: Recipient | None = None


class ExemptionGranted(_Event):
    """The platform has excused orders from rules (`*`: all), for good or up to `extended_to`.

    With `order_id` that order, else all orders that every other scope given names: sold on `platform`, by `merchant_id`, delivered
    within `region`. With a period (ends included) only what was due, or violated, in it.
    """

    type: Literal["exemption_granted"]
    order_id: Identifier | None = None
    platform: Identifier | None = None
    merchant_id: Identifier | None = None
    region: Identifier | None = None
    rules: Identifiers
    reason: Text = None
    extended_to: Time | None = None
    applies_from: Time | None = None
    applies_until: Time | None = None

    @model_validator(mode="after")
    def _has_a_scope(self) -> Self:
        if self.order_id is self.platform is self.merchant_id is self.region is None:
            raise ValueError("order_id, platform, merchant_id or region must say whose exemption it is")
        if self.applies_from is not None and self.applies_until is not None and self.applies_until < self.applies_from:
            raise ValueError("applies_until must not be before applies_from")
        return self


class WaybillReplaced(_Event):
    """A parcel travels on under another number: handed to another carrier, or the uploaded number was wrong."""

    type: Literal["waybill_replaced"]
    carrier: Identifier
    waybill_no: Identifier
    new_carrier: Identifier
    new_waybill_no: Identifier
    kind: ReplacementKind | None = None
    location: Location | None = None
    reason: Text = None


class _AftersaleEvent(_Event):
    """What all events about a case (售后单) have: its order and its own id."""

    order_id: Identifier
    aftersale_id: Identifier


class AftersaleOpened(_AftersaleEvent):
    """The buyer asks for a refund, with or without a return, or for goods to be sent again (补寄)."""

    type: Literal["aftersale_opened"]
    kind: AftersaleKind
    reason: Text = None


class AftersaleAnswered(_AftersaleEvent):
    """The merchant has agreed to the request, or rejected it."""

    type: Literal["aftersale_answered"]
    answer: AftersaleAnswer
    reason: Text = None


class ReturnWaybillUploaded(_AftersaleEvent):
    """The buyer has sent the goods back and says under which number."""

    type: Literal["return_waybill_uploaded"]
    carrier: Identifier
    waybill_no: Identifier


class ReturnReceived(_AftersaleEvent):
    """The merchant confirms that the goods are back."""

    type: Literal["return_received"]


class Refunded(_AftersaleEvent):
    """The merchant has paid the money back."""

    type: Literal["refunded"]
    amount: Amount | None = None


class ResendShipped(_AftersaleEvent):
    """The merchant has sent again what was missing or lost, under this number."""

    type: Literal["resend_shipped"]
    carrier: Identifier
    waybill_no: Identifier


class AftersaleClosed(_AftersaleEvent):
    """The buyer has withdrawn the request, or it was settled otherwise."""

    type: Literal["aftersale_closed"]
    reason: Text = None


# The most frequent first: batches are searched for the types in this order.
Event: TypeAlias = (
    Scan
    | OrderPaid
    | WaybillUploaded
    | OrderCancelled
    | AddressChanged
    | WaybillReplaced
    | AftersaleOpened
    | AftersaleAnswered
    | ReturnWaybillUploaded
    | ReturnReceived
    | Refunded
    | ResendShipped
    | AftersaleClosed
    | ExemptionGranted
)

EVENT_TYPES: Final[dict[str, type[Event]]] = {
    get_args(model.model_fields["type"].annotation)[0]: model for model in get_args(Event)
}
"""The models by their `type`."""

_ADAPTER: Final[TypeAdapter[Event]] = TypeAdapter(Annotated[Event, Field(discriminator="type")])


def parse(value: bytes, recorded_at: datetime | None = None) -> Event:
    """Read one message.

    Args:
        value: UTF-8 JSON.
        recorded_at: When Kafka took the message in (aware, or none); the default of `received_at`, before `occurred_at`.

    Returns:
        The event, its `received_at` filled in and its times in UTC.

    Raises:
        RejectedError: It is no valid event.
    """
    if not value.strip():
        raise RejectedError("empty message")
    try:
        event = _ADAPTER.validate_json(value)
    except ValidationError as error:
        # The first step of a path is the event's type, which has no field of its own.
        raise RejectedError(
            "; ".join(fault(each, each["loc"][1:]) for each in error.errors(include_url=False))
        ) from None
    return received(event, recorded_at)


def received(event: Event, recorded_at: datetime | None) -> Event:
    """Fill in when the platform learned of an event: as it says itself, else `recorded_at`, else when it happened.

    Raises:
        RejectedError: It lies too far ahead of that.
    """
    received_at = (event.received_at or recorded_at or event.occurred_at).astimezone(UTC)
    if event.occurred_at - received_at > AHEAD_MAX:
        raise RejectedError(
            f"occurred_at: {event.occurred_at.isoformat()} is more than 24 hours after it was received"
            f" ({received_at.isoformat()})"
        )
    return event if event.received_at is received_at else event.model_copy(update={"received_at": received_at})


def json_schema() -> dict[str, Any]:
    """Return the JSON schema of all events, for those who produce them in another language."""
    return {"title": "parcelwatch event", **_ADAPTER.json_schema()}


_PLAIN_WORDS: Final = {
    "json_invalid": "not valid JSON: {error}",
    "dict_type": "not a JSON object",
    "union_tag_not_found": "type: missing",
    "missing": "missing",
    "string_type": "must be a string",
    "string_too_short": "must not be empty",
    "string_too_long": "must have at most {max_length} characters",
    "string_pattern_mismatch": 'must be a plain decimal number of at least 0, such as "12.50"',
    "int_type": "must be a whole number",
    "greater_than_equal": f"must be from 1 to {SHIP_WITHIN_HOURS_MAX}",
    "less_than_equal": f"must be from 1 to {SHIP_WITHIN_HOURS_MAX}",
    "enum": "is unknown",
    "model_type": "must be an object",
    "list_type": "must be a list",
    "too_short": "must not be empty",
    "value_error": "{error}",
}
_SELF_EXPLANATORY: Final = {"json_invalid", "union_tag_not_found", "missing", "string_too_short", "too_short"}


def fault(error: ErrorDetails, path: Sequence[int | str]) -> str:
    """Say what is wrong with the field at `path`. Values of a recipient stay out of it: it ends up in logs."""
    kind, value = error["type"], error["input"]
    if kind == "union_tag_invalid":
        return f"type: is unknown, got {_shown(value['type'])}"
    words = _PLAIN_WORDS.get(kind, "{msg}").format(msg=error["msg"], **error.get("ctx", {}))
    field = ".".join(map(str, path))
    said = f"{field}: {words}" if field else words
    # What is wrong with the whole of it, not with one field, has no value to show.
    if kind in _SELF_EXPLANATORY or "recipient" in path or (kind == "value_error" and not field):
        return said
    return f"{said}, got {_shown(value)}"


def _shown(value: object) -> str:
    """Write any value, however large, in a few characters."""
    match value:
        case dict():
            return "an object"
        case list():
            return "a list"
        case bool() | None:
            return {True: "true", False: "false", None: "null"}[value]
        case int() if abs(value) >= 10**_SHOWN_CHARACTERS_MAX:
            return "a huge number"
        case str() if len(value) > _SHOWN_CHARACTERS_MAX:
            return f"{value[:_SHOWN_CHARACTERS_MAX]!r}… ({len(value)} characters)"
    return repr(value)
