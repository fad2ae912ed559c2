"""Plain Python: a loop and two dictionaries. Nothing is stored; what it holds is lost with the process."""

from collections import defaultdict
from collections.abc import Iterator

from benchmarks.peers.asked import ASKED
from benchmarks.peers.job import Order, Scan, Waybill, clock, decode


def records() -> Iterator[bytes]:
    """Give the stream from the file, or from the topics up to their ends."""
    if ASKED.file:
        with ASKED.file.open("rb") as lines:
            yield from lines
        return
    from confluent_kafka import Consumer  # noqa: PLC0415  files do without

    consumer = Consumer(
        {
            "bootstrap.servers": ASKED.bootstrap,
            "group.id": str(ASKED.out),
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
        }
    )
    consumer.subscribe([ASKED.orders, ASKED.scans])
    left = ASKED.events
    while left:
        messages = consumer.consume(10_000, 1.0)
        left -= len(messages)
        for message in messages:
            if message.error():
                raise RuntimeError(message.error())
            yield message.value()
    consumer.close()


def main() -> None:
    """Read everything, then judge everything."""
    orders: defaultdict[str, Order] = defaultdict(Order)
    waybills: defaultdict[tuple[str, str], Waybill] = defaultdict(Waybill)
    for record in records():
        event = decode(record)
        if type(event) is Scan:
            waybills[event.carrier, event.waybill_no].scan(event)
        else:
            for shipment in orders[event.order_id].add(event):
                waybills[shipment.carrier, shipment.waybill_no].upload(shipment)
    as_of = clock(ASKED.as_of)
    with ASKED.out.open("wb") as out:
        out.writelines(flag + b"\n" for waybill in waybills.values() for flag in waybill.flags(as_of))


main()
