"""The job in plain Python, for peers whose steps are Python functions: events, what is kept of them, and the five rules.

Nothing here is sorted or stored twice: duplicates and late events leave the minima, maxima and sets as they are.
"""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import msgspec
from msgspec import Struct

LIMIT = timedelta(hours=24)
REUSE_LIMIT = timedelta(hours=720)
DROPS = {"out_for_delivery": 0, "available_for_pickup": 1, "delivered": 2}
BACK = {"returning", "returned", "forwarded"}
UNMOVED = {"info_received", "cancelled"}
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Recipient(Struct, frozen=True, gc=False):
    """Who receives an order."""

    name: str
    phone: str


class Address(Struct, frozen=True, gc=False):
    """Where an order goes."""

    province: str
    city: str
    district: str
    detail: str


class Place(Struct, gc=False):
    """Where a scan was made; on the road the city may be missing."""

    city: str | None = None


class Paid(Struct, tag="order_paid", gc=False):
    """An order is paid."""

    occurred_at: datetime
    order_id: str
    recipient: Recipient
    address: Address


class Uploaded(Struct, tag="waybill_uploaded", gc=False):
    """A waybill number is uploaded for an order."""

    occurred_at: datetime
    order_id: str
    carrier: str
    waybill_no: str


class Scan(Struct, tag="scan", gc=False):
    """A carrier scans a parcel."""

    occurred_at: datetime
    carrier: str
    waybill_no: str
    status: str
    location: Place


decode = msgspec.json.Decoder(Paid | Uploaded | Scan).decode


class Shipment(Struct, array_like=True):
    """One order's upload of a waybill."""

    order_id: str
    carrier: str
    waybill_no: str
    uploaded_at: datetime
    paid_at: datetime
    recipient: Recipient
    address: Address


class Order(Struct, array_like=True):
    """What is kept of an order until, and after, its payment and uploads have met."""

    paid: Paid | None = None
    uploads: dict[str, Uploaded] = {}

    def add(self, event: Paid | Uploaded) -> list[Shipment]:
        """Take in one event, and return the shipments that are new or have changed by it."""
        changed = list(self.uploads.values())
        if isinstance(event, Paid):
            if self.paid is not None and self.paid.occurred_at <= event.occurred_at:
                return []
            self.paid = event
        else:
            key = f"{event.carrier} {event.waybill_no}"
            before = self.uploads.get(key)
            if before is not None and before.occurred_at <= event.occurred_at:
                return []
            self.uploads[key] = event
            changed = [event]
        if (paid := self.paid) is None:
            return []
        return [
            Shipment(
                up.order_id, up.carrier, up.waybill_no, up.occurred_at, paid.occurred_at, paid.recipient, paid.address
            )
            for up in changed
        ]


class Waybill(Struct, array_like=True):
    """What is kept of a waybill: of its scans only what the rules ask for, and who has uploaded it."""

    picked_up_at: datetime | None = None
    moved_at: list[datetime] = []
    drop_at: datetime = EPOCH
    drop_rank: int = -1
    drop_city: str | None = None
    turned_back: bool = False
    shipments: dict[str, Shipment] = {}

    def scan(self, scan: Scan) -> None:
        """Take in one scan."""
        at, status = scan.occurred_at, scan.status
        if status == "picked_up":
            if self.picked_up_at is None or at < self.picked_up_at:
                self.picked_up_at = at
        elif status not in UNMOVED:
            self.moved_at.append(at)
            rank = DROPS.get(status)
            if rank is not None and (at, rank) > (self.drop_at, self.drop_rank):
                self.drop_at, self.drop_rank, self.drop_city = at, rank, scan.location.city
            elif status in BACK:
                self.turned_back = True

    def upload(self, shipment: Shipment) -> None:
        """Take in one upload, or what has changed in it."""
        self.shipments[shipment.order_id] = shipment

    def flags(self, as_of: datetime) -> Iterator[bytes]:
        """Judge all uploads, and give each flag as a line of JSON."""
        picked_up, shipments = self.picked_up_at, self.shipments.values()
        for shipment in shipments:
            uploaded = shipment.uploaded_at
            if picked_up is not None and picked_up < shipment.paid_at:
                yield _flag("pickup_before_payment", shipment, shipment.paid_at)
            if missed(uploaded + LIMIT, picked_up, as_of):
                yield _flag("no_pickup_scan", shipment, uploaded + LIMIT)
            if picked_up is not None:
                moved = min((at for at in self.moved_at if at > picked_up), default=None)
                if missed(picked_up + LIMIT, moved, as_of):
                    yield _flag("stalled_after_pickup", shipment, picked_up + LIMIT)
            if len(shipments) > 1 and any(_reused(shipment, other) for other in shipments):
                yield _flag("waybill_reused", shipment, uploaded)
            if self.drop_city is not None and not self.turned_back and self.drop_city != shipment.address.city:
                yield _flag("address_mismatch", shipment, self.drop_at)


def missed(deadline: datetime, happened: datetime | None, as_of: datetime) -> bool:
    """Return whether something happened after its deadline, or has not happened although that has passed."""
    return (happened or as_of) > deadline


def _reused(shipment: Shipment, other: Shipment) -> bool:
    """Return whether another order used the number before, for somebody else or to somewhere else."""
    before = (other.uploaded_at, other.order_id) < (shipment.uploaded_at, shipment.order_id)
    differs = (other.recipient, other.address) != (shipment.recipient, shipment.address)
    return before and differs and shipment.uploaded_at - other.uploaded_at <= REUSE_LIMIT


def _flag(rule: str, shipment: Shipment, at: datetime) -> bytes:
    return msgspec.json.encode(
        {
            "rule": rule,
            "order_id": shipment.order_id,
            "carrier": shipment.carrier,
            "waybill_no": shipment.waybill_no,
            "violated_at": (at - EPOCH) // timedelta(microseconds=1),
        }
    )


def clock(micros: int) -> datetime:
    """Return the time from microseconds since 1970."""
    return EPOCH + timedelta(microseconds=micros)
