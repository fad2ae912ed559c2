"""Quix Streams: orders joined by order, sent on by waybill number, joined with scans there; state in RocksDB, with changelogs.

It has no timers and no end of a stream: a number is judged, at the given clock, whenever something about it is new, and the latest
verdict on it counts.
"""

import os
from tempfile import TemporaryDirectory

from msgspec import msgpack
from quixstreams import Application, State
from quixstreams.sinks import BaseSink

from benchmarks.peers.asked import ASKED
from benchmarks.peers.job import Order, Scan, Shipment, Waybill, clock, decode

AS_OF = clock(ASKED.as_of)
read_order = msgpack.Decoder(Order).decode
read_waybill = msgpack.Decoder(Waybill).decode
read_shipment = msgpack.Decoder(Shipment).decode
packed = msgpack.Encoder().encode


class Ending:
    """Stops the application when everything has passed through it: the records of both topics, and the shipments between."""

    left = ASKED.events

    @classmethod
    def count(cls, more: int = 0) -> None:
        """Count one record as done, which has made `more` to come."""
        cls.left += more - 1
        if cls.left == 0:
            app.stop()


class Latest(BaseSink):
    """Keeps the latest verdict on each number; written to the file when the application commits."""

    def __init__(self) -> None:
        super().__init__()
        self._flags: dict[tuple[object, str], list[bytes]] = {}

    def add(self, value: tuple[str, list[bytes]], key: object, *_: object, **__: object) -> None:
        """Take in a verdict."""
        carrier, flags = value
        self._flags[key, carrier] = flags

    def flush(self) -> None:
        """Write everything."""
        with ASKED.out.open("wb") as out:
            out.writelines(flag + b"\n" for flags in self._flags.values() for flag in flags)


def join(record: bytes, state: State) -> list[bytes]:
    """Keep a payment or an upload, and give the shipments that it makes, or changes."""
    before = state.get_bytes("order")
    order = Order() if before is None else read_order(before)
    shipments = order.add(decode(record))
    state.set_bytes("order", packed(order))
    Ending.count(more=len(shipments))
    return [packed(shipment) for shipment in shipments]


def judge(event: Scan | Shipment, state: State) -> tuple[str, list[bytes]]:
    """Keep a scan or a shipment, and judge its number. Two carriers may use one number, so each has a state of its own."""
    before = state.get_bytes(event.carrier)
    waybill = Waybill() if before is None else read_waybill(before)
    if isinstance(event, Scan):
        waybill.scan(event)
    else:
        waybill.upload(event)
    state.set_bytes(event.carrier, packed(waybill))
    Ending.count()
    return event.carrier, list(waybill.flags(AS_OF))


with TemporaryDirectory() as scratch:
    app = Application(
        ASKED.bootstrap,
        consumer_group=f"{ASKED.scans}.{os.getpid()}",
        auto_offset_reset="earliest",
        state_dir=scratch,
        loglevel="WARNING",
    )
    raw = {"value_deserializer": "bytes", "value_serializer": "bytes"}
    orders, scans = (app.dataframe(app.topic(topic, **raw)) for topic in (ASKED.orders, ASKED.scans))
    shipments = orders.apply(join, stateful=True, expand=True).group_by(
        lambda shipment: read_shipment(shipment).waybill_no,
        "by-number",
        key_serializer="str",
        key_deserializer="bytes",
        **raw,
    )
    shipments.apply(read_shipment).concat(scans.apply(decode)).apply(judge, stateful=True).sink(Latest())
    app.run()
