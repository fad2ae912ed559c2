"""A writer to be killed: commits numbered facts without end and prints the number of each once it is durable.

`python -m tests.pipeline.committing FILE COPY_EVERY_SECONDS [LAST POINT]`. It waits for a line on standard input before it
begins, so that a test can have the next one ready. With LAST it commits up to that number, waits for the copy, commits
three more, begins a checkpoint that stops at POINT of DuckDB's (with "none": no checkpoint), and waits to be killed.
"""

import sys
from contextlib import suppress
from pathlib import Path

import duckdb
import polars as pl

from pipeline import store as store_module
from pipeline.store import Offset, Store
from tests.pipeline.store_rows import at, commit, facts, flags, letters

ROWS = 300
"""Scans of a commit. With it come one flag, one letter, one change of an earlier flag, and the offset."""


def numbered(number: int) -> pl.DataFrame:
    scan = {"carrier": str(number), "waybill_no": "1", "status": "in_transit", "description": "快件已到达" * 4}
    return facts(scans=[scan | {"event_id": f"{number}-{row}"} for row in range(ROWS)])["scans"]


def commit_number(store: Store, number: int) -> None:
    flag = {"flag_id": str(number), "order_id": "a"}
    amended = {"flag_id": str(number // 2), "order_id": "a", "change": "amended", "reason": str(number)}
    letter = {"source": "t/0", "position": number, "raw": str(number).encode(), "error": "e"}
    redriven = [number] if number % 2 and number else []  # the letter before: ids are from 1
    store.commit(
        commit(
            {"scans": numbered(number)},
            flags(flag, amended),
            letters(letter),
            {"t/0": Offset(number + 1, None)},
            at(number),
            redriven,
        )
    )
    sys.stdout.write(f"{number}\n")
    sys.stdout.flush()


def main() -> None:
    path, copy_every_seconds, last = Path(sys.argv[1]), float(sys.argv[2]), sys.argv[3:]
    sys.stdin.readline()
    store_module._COPY_SHARE = 0  # as many checkpoints and copies as there can be
    store = Store(path, copy_every_seconds=copy_every_seconds)
    position = store.offsets().get("t/0", Offset(0, None)).position
    if last:
        stop_in_checkpoint(store, position, int(last[0]), last[1])
    while True:
        commit_number(store, position)
        position += 1


def stop_in_checkpoint(store: Store, first: int, last: int, point: str) -> None:
    store._copy_finished(wait=True)
    for number in range(first, last + 1):
        commit_number(store, number)
    store.publish_copy()
    store._copy_finished(wait=True)
    for number in range(last + 1, last + 4):
        commit_number(store, number)
    if point != "none":
        store._run(f"SET debug_checkpoint_abort = '{point}'")
        with suppress(duckdb.FatalException):
            store._run("CHECKPOINT")
    sys.stdout.write("stopped\n")
    sys.stdout.flush()
    sys.stdin.read()


if __name__ == "__main__":
    main()
