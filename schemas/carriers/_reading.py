"""From a payload to canonical events: what is the same for every adapter."""

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple
from urllib.parse import parse_qsl

from pydantic import BaseModel, ValidationError
from pydantic_core import from_json

from schemas.carriers._contract import NO_SCAN, Adapter, Renumbered, RowFault, Told, joined
from schemas.carriers._tables import Tables, Transfer
from schemas.events import (
    EVENT_TYPES,
    Event,
    RejectedError,
    ReplacementKind,
    Scan,
    ScanStatus,
    WaybillReplaced,
    fault,
    parse,
    received,
)

_DEPTH_MAX: Final = 8
_FAULTS_TOLD_MAX: Final = 5
_JSON_IN_TEXT: Final = frozenset({'{"', "[{", "{\n", "[\n"})
_FORM: Final = re.compile(rb"\s*[A-Za-z_][\w.\[\]-]*=")


class Reading(NamedTuple):
    """What one payload holds.

    Attributes:
        events: What it tells; a payload with an empty history tells nothing.
        faults: What of it cannot be read, each with its path. The rest is in `events` all the same.
    """

    events: list[Event]
    faults: list[str]

    @property
    def complaint(self) -> str | None:
        """The faults in one line, or None."""
        more = f"; and {len(self.faults) - _FAULTS_TOLD_MAX} more" if len(self.faults) > _FAULTS_TOLD_MAX else ""
        return "; ".join(self.faults[:_FAULTS_TOLD_MAX]) + more or None


def payload_of(value: bytes) -> Any:
    """Read JSON, or a form (`param={…}&sign=…`) in one of whose fields is JSON; JSON that is in a JSON string, too.

    Raises:
        RejectedError: There is no JSON.
    """
    if not value.strip():
        raise RejectedError("empty message")
    try:
        payload = from_json(value)
        return from_json(payload) if isinstance(payload, str) and payload.lstrip()[:1] in {"{", "["} else payload
    except ValueError as error:
        if _FORM.match(value):
            return _in_form(value)
        raise RejectedError(f"not valid JSON: {error}") from None


def _in_form(value: bytes) -> Any:
    try:
        fields = parse_qsl(value.decode(), max_num_fields=100)
    except ValueError:
        raise RejectedError("not valid JSON, and no form that can be read") from None
    for _, text in fields:
        if text.lstrip()[:1] in {"{", "["}:
            try:
                return from_json(text)
            except ValueError:
                continue
    raise RejectedError("a form without a field that holds JSON")


Path = tuple[int | str, ...]


def documents(payload: Any, adapter: Adapter) -> Iterator[tuple[Path, Mapping[str, Any], type[BaseModel]]]:
    """The adapter's documents in a payload, from the outside in, each with its path and its model."""
    waiting: list[tuple[Path, Any]] = [((), payload)]
    while waiting:
        path, node = waiting.pop(0)
        if isinstance(node, dict):
            model = adapter.document(node)
            if model is not None:
                yield path, node, model
                continue
            inner: Iterator[tuple[int | str, Any]] = iter(node.items())
        elif isinstance(node, list):
            inner = iter(enumerate(node))
        else:
            continue
        if len(path) < _DEPTH_MAX:
            waiting += [((*path, key), child) for key, child in ((k, _unpacked(c)) for k, c in inner) if child]


def _unpacked(child: Any) -> dict[str, Any] | list[Any] | None:
    """An object or a list, also one that was written into a text (`{"RequestData": "{…}"}`)."""
    if isinstance(child, str) and child[:2] in _JSON_IN_TEXT:
        try:
            child = from_json(child)
        except ValueError:
            return None
    return child if isinstance(child, dict | list) else None


def is_canonical(payload: Any) -> bool:
    """Whether this is an event of our own, or was meant to be."""
    return isinstance(payload, dict) and (
        str(payload.get("type")) in EVENT_TYPES or {"type", "occurred_at"} <= payload.keys()
    )


def recognised(payload: Any, formats: Mapping[str, Adapter]) -> str:
    """The name of the format that a payload has the shape of.

    Raises:
        RejectedError: It has the shape of none, or of several.
    """
    names = [name for name, adapter in formats.items() if next(documents(payload, adapter), None) is not None]
    if len(names) == 1:
        return names[0]
    if names:
        raise RejectedError(f"could be any of {', '.join(names)}: declare the format instead of auto")
    raise RejectedError("has the shape of no known format: `parcelwatch convert --help` lists them")


def read(payload: Any, name: str, adapter: Adapter, tables: Tables, recorded_at: datetime | None) -> Reading:
    """Read a payload as what it was declared or recognised as.

    Raises:
        RejectedError: It does not have the shape of that format.
    """
    reading = Reading([], [])
    found = False
    for path, node, model in documents(payload, adapter):
        found = True
        faults: list[str] = []
        rows: list[RowFault] = []
        try:
            document = model.model_validate(node, context={"zone": adapter.zone, "faults": rows})
            faults += _of_rows(rows, node)
            for told in adapter.told(document):
                reading.events.extend(_in_time(_events(told, adapter, tables, recorded_at), faults))
        except ValidationError as error:
            faults += [fault(each, each["loc"]) for each in error.errors(include_url=False)]
        except ValueError as error:
            faults.append(str(error))
        reading.faults.extend(joined(path, said) for said in faults)
    if not found:
        raise RejectedError(f"does not have the shape of {name}")
    return reading


def _of_rows(faults: Sequence[RowFault], node: Mapping[str, Any]) -> Iterator[str]:
    """Say which rows are wrong, by the path to their list, which is looked for in the document."""
    if not faults:
        return
    paths: dict[int, Path] = {}
    waiting: list[tuple[Path, Any]] = [((), node)]
    for path, inner in waiting:  # grows while it is gone through
        paths[id(inner)] = path
        items = inner.items() if isinstance(inner, dict) else enumerate(inner) if isinstance(inner, list) else ()
        waiting += [((*path, key), child) for key, child in items if isinstance(child, dict | list)]
    for rows, path, error in faults:
        yield fault(error, (*paths.get(id(rows), ()), *path))


def _events(told: Told | Renumbered, adapter: Adapter, tables: Tables, recorded_at: datetime | None) -> Iterator[Event]:
    """The events of one line, as received with the record, or when they happened."""
    if told.at is None:
        return
    received_at = recorded_at or told.at
    carrier = tables.carrier(told.carrier)
    if isinstance(told, Renumbered):
        corrected = Transfer(tables.carrier(told.new_carrier), told.new_number)
        yield from _replaced(carrier, told, corrected, ReplacementKind.CORRECTION, received_at)
        return
    status = tables.status(told.text, adapter.statuses.get(told.code) if told.code else None)
    # What goes back under another number is not delivered under it.
    transfer = None if status in {ScanStatus.RETURNING, ScanStatus.RETURNED} else tables.transfer(told.text)
    if transfer is not None:
        replaced = list(_replaced(carrier, told, transfer, ReplacementKind.TRANSFER, received_at))
        status = ScanStatus.FORWARDED if replaced else status
        yield from replaced
    if status != NO_SCAN:
        yield Scan(
            type="scan",
            occurred_at=told.at,
            received_at=received_at,
            carrier=carrier,
            waybill_no=told.number,
            status=ScanStatus(status),
            location=told.place,
            description=told.text,
        )


def _replaced(
    carrier: str, told: Told | Renumbered, new: Transfer, kind: ReplacementKind, received_at: datetime
) -> Iterator[WaybillReplaced]:
    """Nothing, where the new number is the old one."""
    new_carrier = new.carrier or carrier
    if told.at is not None and (new_carrier, new.number) != (carrier, told.number):
        yield WaybillReplaced(
            type="waybill_replaced",
            occurred_at=told.at,
            received_at=received_at,
            carrier=carrier,
            waybill_no=told.number,
            new_carrier=new_carrier,
            new_waybill_no=new.number,
            kind=kind,
            location=told.place if isinstance(told, Told) else None,
            reason=told.text if isinstance(told, Told) else told.reason,
        )


def _in_time(events: Iterator[Event], faults: list[str]) -> Iterator[Event]:
    """Leave out, as a fault, an event that lies too far ahead of when it was received."""
    for event in events:
        try:
            yield received(event, None)
        except RejectedError as error:
            faults.append(str(error))


def read_canonical(value: bytes, recorded_at: datetime | None) -> Reading:
    """Read an event of our own.

    Raises:
        RejectedError: It is no valid event.
    """
    return Reading([parse(value, recorded_at)], [])
