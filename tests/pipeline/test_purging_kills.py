"""A writer that commits and purges may be killed at any instant: each order is there in full, or not at all."""

import os
import random
import signal
import subprocess
import sys
import threading
from pathlib import Path

from pipeline.store import Offset, Store
from tests.pipeline.purging_writer import KEPT, ROWS

KILLS = int(os.environ.get("PARCELWATCH_KILLS", "12"))
SEED = int(os.environ.get("PARCELWATCH_SEED", "7"))


def checked(store: Store) -> int:
    """Return how many orders were committed, after checking that those left are whole, and that the others are counted."""
    count = store.offsets().get("t/0", Offset(0, None)).position
    of_orders = "SELECT order_id::INT, count(*) FROM {} GROUP BY order_id ORDER BY 1"
    of_scans = "SELECT waybill_no::INT, count(*) FROM scans GROUP BY waybill_no ORDER BY 1"
    left = store.sql(of_orders.format("order_facts"))["CAST(order_id AS INTEGER)"].to_list()
    assert left == list(range(count - len(left), count))
    assert len(left) >= min(count, KEPT)
    purged = dict(store.sql("SELECT table_name, rows FROM purged").iter_rows())
    for table, rows in ROWS.items():
        found = store.sql(of_scans if table == "scans" else of_orders.format(table)).rows()
        assert found == [(number, rows) for number in left]
        assert purged[table] == (count - len(left)) * rows
    return count


def test_a_kill_in_a_purge_leaves_all_or_nothing_of_each_order(tmp_path: Path) -> None:
    path, random_ = tmp_path / "flags.duckdb", random.Random(SEED)
    committed = 0
    for _ in range(KILLS):
        command = [sys.executable, "-m", "tests.pipeline.purging_writer", str(path)]
        writer = subprocess.Popen(
            command, cwd=Path(__file__).parents[2], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert writer.stdin
        assert writer.stdout
        writer.stdin.write("go\n")
        writer.stdin.flush()
        acknowledged = int(writer.stdout.readline())
        threading.Event().wait(random_.uniform(0, 0.4))  # for nothing: the instant is what is varied
        writer.send_signal(signal.SIGKILL)
        output, _ = writer.communicate()
        acknowledged = max([acknowledged, *map(int, output.split())])
        with Store(path, copy_every_seconds=1000) as store:
            found = checked(store)
            assert found > acknowledged, f"PARCELWATCH_SEED={SEED}"
            committed = found
            store._let_go()
    assert committed > 3 * KEPT, "too slow to say anything"
