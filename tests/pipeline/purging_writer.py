"""A process that commits orders and purges the older ones, until it is killed: `python -m tests.pipeline.purging_writer PATH`.

It begins when it is given a line, and writes a line after each commit.
"""

import sys
from pathlib import Path

import polars as pl

from pipeline import store as store_module
from pipeline.store import Offset, Store
from tests.pipeline.store_rows import at, commit, facts, flags

SCANS = 40
KEPT = 10
"""Orders that are never purged, the latest."""
ROWS = {"order_facts": 1, "uploads": 1, "scans": SCANS, "flag_log": 1}
"""Of each order."""


def commit_order(store: Store, number: int) -> None:
    name, about = str(number), {"carrier": "zto", "waybill_no": str(number), "received_at": at(number)}
    paid = {"type": "order_paid", "order_id": name, "received_at": at(number)}
    scans = [about | {"status": "in_transit", "event_id": str(scan)} for scan in range(SCANS)]
    flag = {"flag_id": name, "order_id": name, "changed_at": at(number)}
    tables = facts(order_facts=[paid], uploads=[about | {"order_id": name}], scans=scans)
    store.commit(commit(tables, flags(flag), offsets={"t/0": Offset(number + 1, None)}, clock=at(number)))


def purge_up_to(store: Store, number: int) -> None:
    """Delete all orders up to this one that are there still."""
    numbers = pl.Series(range(number + 1)).cast(pl.String)
    both = [pl.DataFrame({"carrier": [carrier] * len(numbers), "number": numbers}) for carrier in (None, "zto")]
    store.purge(pl.concat(both, how="vertical_relaxed"), at(0), at(number))


def main() -> None:
    sys.stdin.readline()
    store_module._COPY_SHARE = 0  # as many checkpoints and copies as there can be
    store = Store(Path(sys.argv[1]), copy_every_seconds=0)
    number = store.offsets().get("t/0", Offset(0, None)).position
    while True:
        commit_order(store, number)
        if number % 3 == 0 and number > KEPT:
            purge_up_to(store, number - KEPT)
        sys.stdout.write(f"{number}\n")
        sys.stdout.flush()
        number += 1


if __name__ == "__main__":
    main()
