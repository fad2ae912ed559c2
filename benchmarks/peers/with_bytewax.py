"""Bytewax: batches are parsed, keyed by order, joined, keyed by waybill; both states are judged at the end of the stream."""

from collections.abc import Iterable

import bytewax.operators as op
from bytewax.connectors.files import FileSink, FileSource
from bytewax.connectors.kafka import KafkaSource
from bytewax.dataflow import Dataflow
from bytewax.operators import StatefulBatchLogic
from bytewax.run import cli_main

from benchmarks.peers.asked import ASKED
from benchmarks.peers.job import Order, Paid, Scan, Shipment, Uploaded, Waybill, clock, decode

BATCH = 10_000
AS_OF = clock(ASKED.as_of)


class Orders(StatefulBatchLogic[Paid | Uploaded, Shipment, Order]):
    """Joins payments and uploads."""

    def __init__(self, state: Order | None) -> None:
        self.state = state or Order()

    def on_batch(self, values: list[Paid | Uploaded]) -> tuple[Iterable[Shipment], bool]:
        """Pass on the shipments that are new or have changed."""
        return [shipment for event in values for shipment in self.state.add(event)], StatefulBatchLogic.RETAIN

    def snapshot(self) -> Order:
        """Return what a recovery store would keep."""
        return self.state


class Waybills(StatefulBatchLogic[Scan | Shipment, str, Waybill]):
    """Keeps scans and uploads of a number, and judges them at the end."""

    def __init__(self, state: Waybill | None) -> None:
        self.state = state or Waybill()

    def on_batch(self, values: list[Scan | Shipment]) -> tuple[Iterable[str], bool]:
        """Take in scans and shipments; the verdict waits."""
        for value in values:
            if type(value) is Scan:
                self.state.scan(value)
            else:
                self.state.upload(value)
        return (), StatefulBatchLogic.RETAIN

    def on_eof(self) -> tuple[Iterable[str], bool]:
        """Judge the number."""
        return [flag.decode() for flag in self.state.flags(AS_OF)], StatefulBatchLogic.RETAIN

    def snapshot(self) -> Waybill:
        """Return what a recovery store would keep."""
        return self.state


def key(value: Scan | Shipment) -> str:
    """Return what scans and uploads of one number have in common."""
    return f"{value.carrier} {value.waybill_no}"


flow = Dataflow("peer")
if ASKED.file:
    lines = op.input("lines", flow, FileSource(ASKED.file, batch_size=BATCH))
    events = op.flat_map_batch("parse", lines, lambda batch: map(decode, batch))
else:
    source: KafkaSource = KafkaSource([ASKED.bootstrap], [ASKED.orders, ASKED.scans], tail=False, batch_size=BATCH)
    messages = op.input("messages", flow, source)
    events = op.flat_map_batch("parse", messages, lambda batch: [decode(message.value) for message in batch])
told = op.flat_map_batch("told", events, lambda batch: [(e.order_id, e) for e in batch if type(e) is not Scan])
scanned = op.flat_map_batch("scanned", events, lambda batch: [(key(e), e) for e in batch if type(e) is Scan])
shipments = op.stateful_batch("orders", told, Orders)
shipped = op.flat_map_batch("by number", shipments, lambda batch: [(key(shipment), shipment) for _, shipment in batch])
flags = op.stateful_batch("waybills", op.merge("all", scanned, shipped), Waybills)
op.output("flags", flags, FileSink(ASKED.out))

cli_main(flow)
