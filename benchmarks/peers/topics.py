"""The stream in two topics of a real broker, keyed as parcelwatch asks for: orders by order, scans by waybill number."""

import json
from pathlib import Path
from typing import Final

from pipeline.publish import sending
from tests.broker import Broker

PARTITIONS: Final = 3


def publish(broker: Broker, stream: Path, name: str) -> tuple[str, str]:
    """Send the whole stream; returns the topics of orders and of scans."""
    orders, scans = (broker.create_topic(f"{name}.{kind}", PARTITIONS) for kind in ("orders", "scans"))
    with sending({"bootstrap_servers": broker.bootstrap}) as send, stream.open("rb") as lines:
        for line in lines:
            event = json.loads(line)
            if event["type"] == "scan":
                send(scans, event["waybill_no"], line.rstrip())
            else:
                send(orders, event["order_id"], line.rstrip())
    return orders, scans
