"""Runs the real command line, and makes the events that it is fed with."""

import contextlib
import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

from pipeline.__main__ import main

ROOT = Path(__file__).parents[2]
PAID_AT = datetime.fromisoformat("2025-03-01T00:00:00+08:00")

Event = dict[str, Any]


def environment(**settings: str) -> dict[str, str]:
    """This process's environment without settings of the one who runs the tests, and with `settings` (`PARCELWATCH_…`)."""
    inherited = {name: value for name, value in os.environ.items() if not name.upper().startswith("PARCELWATCH")}
    return {**inherited, "PYTHONPATH": str(ROOT), "COLUMNS": "80", **settings}


class Done(NamedTuple):
    """How a command ended."""

    status: int
    out: str
    complaint: str
    """What it wrote to standard error."""


def parcelwatch(*arguments: str | Path, cwd: Path, **settings: str) -> Done:
    """Run one command to its end, in this process: starting another one costs a second."""
    out, complaint = io.StringIO(), io.StringIO()
    with (
        mock.patch.dict(os.environ, environment(**settings), clear=True),
        contextlib.chdir(cwd),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(complaint),
    ):
        status = main([str(argument) for argument in arguments])
    return Done(status, out.getvalue(), complaint.getvalue())


def in_a_process(*arguments: str | Path, cwd: Path, stdin: bytes = b"", **settings: str) -> Done:
    """Run one command to its end as users do, within a minute."""
    done = subprocess.run(
        [sys.executable, "-m", "pipeline", *map(str, arguments)],
        cwd=cwd,
        env=environment(**settings),
        input=stdin,
        capture_output=True,
        timeout=60,
        check=False,
    )
    return Done(done.returncode, done.stdout.decode(), done.stderr.decode())


@contextlib.contextmanager
def start(
    *arguments: str | Path, cwd: Path, stdin: int = subprocess.DEVNULL, **settings: str
) -> Iterator[subprocess.Popen[str]]:
    """One command as it runs, with pipes for its outputs; killed at the end of the block. An error there tells where it was."""
    with subprocess.Popen(
        [sys.executable, "-m", "pipeline", *map(str, arguments)],
        cwd=cwd,
        env=environment(PYTHONFAULTHANDLER="1", **settings),
        stdin=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        except BaseException as error:
            process.send_signal(signal.SIGABRT)  # all its threads tell where they are
            with contextlib.suppress(subprocess.TimeoutExpired):
                error.add_note(process.communicate(timeout=10)[1])
            raise
        finally:
            process.kill()


def await_that(condition: Callable[[], object], seconds_max: float = 60) -> None:
    """Return as soon as `condition` holds; fail if it does not in time."""
    deadline = time.monotonic() + seconds_max
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


def written(path: Path) -> tuple[int, int]:
    """When a file was last written (ns), and its size; zeros while there is none: a database's log comes and goes at any time."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return 0, 0
    return found.st_mtime_ns, found.st_size


def at(hours: float) -> str:
    """So many hours after `PAID_AT`."""
    return (PAID_AT + timedelta(hours=hours)).isoformat()


def parcel(number: int, *, picked_up: bool = True, paid: float = 0) -> list[Event]:
    """A WeChat order, its upload an hour after `paid`, and a swift delivery; without `picked_up`, nothing after the upload.

    Judged 25 hours later, an order without pickup has exactly one flag: `no_pickup_scan`.
    """
    waybill = {"carrier": "zto", "waybill_no": f"7{number:08}"}
    order = {"order_id": f"o{number}", "platform": "wechat_channels", "merchant_id": f"商家{number % 3}"}
    events = [
        {"type": "order_paid", "occurred_at": at(paid), **order, "amount": "12.50"},
        {"type": "waybill_uploaded", "occurred_at": at(paid + 1), "order_id": f"o{number}", **waybill},
    ]
    steps = ("picked_up", "in_transit", "delivered") if picked_up else ()
    for hour, status in enumerate(steps, start=2):
        events.append({"type": "scan", "occurred_at": at(paid + hour), **waybill, "status": status})
    return events


def tick(hours: float) -> Event:
    """A scan of a parcel that nobody ordered, which moves the clock and nothing else."""
    return {"type": "scan", "occurred_at": at(hours), "carrier": "sto", "waybill_no": "tick", "status": "in_transit"}


def ndjson(events: Iterable[Event]) -> bytes:
    """One line each."""
    return b"".join(json.dumps(event, ensure_ascii=False).encode() + b"\n" for event in events)


def write(path: Path, events: Iterable[Event]) -> Path:
    """Write `events` to `path` in order of time, and return it."""
    path.write_bytes(ndjson(sorted(events, key=lambda event: datetime.fromisoformat(event["occurred_at"]))))
    return path


def rows(sql: str, db: Path) -> list[Any]:
    """Ask the database through the command line."""
    done = parcelwatch("query", sql, "--db", db, "--format", "json", cwd=db.parent)
    assert done.status == 0, done.complaint
    answer: list[Any] = json.loads(done.out)
    return answer


def open_flags(db: Path) -> set[tuple[str, str]]:
    """The open flags as (rule, order)."""
    return {(row["rule"], row["order_id"]) for row in rows("FROM flags WHERE status = 'open'", db)}
