"""La Poste (Colissimo, Chronopost): answers of its tracking API, version 2."""

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from pydantic import Field

from schemas.carriers._abroad import WORLD, Instant, best
from schemas.carriers._contract import Adapter, Code, Loose, Rows, Status, Told, first
from schemas.events import ScanStatus as S


class TrackEvent(Loose):
    """One scan. The first two letters of its code say what it is, the third is a detail."""

    at: Instant = Field(None, validation_alias="date")
    code: str | None = None
    label: str | None = None


class Shipment(Loose):
    """One parcel, newest scan first. `timeline` sums it up, and is not told."""

    number: Code = Field(validation_alias="idShip")
    events: Rows[TrackEvent] = Field(default=[], validation_alias="event")


class Laposte(Adapter):
    """La Poste, tracking.

    Times have the offset of the place. One without is read as UTC.
    """

    zone = WORLD
    statuses: ClassVar[Mapping[str, Status]] = {
        "DR1": S.INFO_RECEIVED, "PC1": S.PICKED_UP, "PC2": S.PICKED_UP, "ET1": S.IN_TRANSIT, "ET2": S.IN_TRANSIT,
        "ET3": S.ARRIVED_AT_FACILITY, "ET4": S.IN_TRANSIT, "EP1": S.IN_TRANSIT, "DO1": S.CUSTOMS, "DO2": S.CUSTOMS,
        "DO3": S.CUSTOMS, "PB1": S.EXCEPTION, "PB2": S.EXCEPTION, "MD2": S.ARRIVED_AT_FACILITY,
        "ND1": S.DELIVERY_FAILED, "AG1": S.AVAILABLE_FOR_PICKUP, "RE1": S.RETURNING, "DI0": S.DELIVERED,
        "DI1": S.DELIVERED, "DI2": S.RETURNED,
    }  # fmt: skip

    def document(self, node: Mapping[str, Any]) -> type[Loose] | None:
        """By the name of its number."""
        return Shipment if "idShip" in node and ("event" in node or "timeline" in node) else None

    def told(self, document: Shipment) -> Iterator[Told]:
        """The scans. The API tells no place but the country of a whole stage."""
        for each in document.events:
            code = best(self.statuses, each.code)
            yield Told("laposte", document.number, each.at, first(each.label), code)
