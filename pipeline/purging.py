# ruff: noqa: S608 - every name in a statement is ours
"""Retention: what has not been heard of for `retention_days` is deleted, whole subjects at a time, between batches.

A subject is everything that uploads and replacements link: orders, waybills, their facts, their flags. It goes when no fact of it
was received, and no flag of it changed, within the retention, and nothing of it is in memory (waiting for a deadline, or heard
of lately); or it stays whole: no judgement is ever made on a part of a history.

Looking for such subjects is reading, and is done in a thread of its own on a snapshot, some million rows at a time. Deleting is the
writer's: a slice of some ten thousand rows in one transaction. What was heard of again in between is in memory, and stays.
"""

import logging
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl

from pipeline.engine import Engine
from pipeline.store import Store

_log = logging.getLogger(__name__)

_EVERY: Final = timedelta(days=1)
"""How far the clock goes until the next purge begins. Each looks at the keys of all facts once."""
_SLICE_ROWS: Final = 50_000
"""Rows deleted in one transaction: some tenths of a second. More only where one subject has more."""
_SLICE_LETTERS: Final = 5_000
_ROUND_ROWS: Final = 5_000_000
"""About how many rows are looked at in memory at once: some hundred megabytes."""
_SHARE: Final = 4
"""At most one part in so many of the writer's time is spent on purging."""
_LONG_AGO: Final = datetime(1, 1, 2, tzinfo=UTC)

_HEARD: Final = {
    "order_facts": ("NULL", "order_id", "received_at"),
    "aftersale_facts": ("NULL", "order_id", "received_at"),
    "flag_log": ("NULL", "order_id", "changed_at"),
    "uploads": ("NULL", "order_id", "received_at"),
    "uploads AS of_waybill": ("carrier", "waybill_no", "received_at"),
    "scans": ("carrier", "waybill_no", "received_at"),
    "replacements": ("carrier", "waybill_no", "received_at"),
    "replacements AS of_following": ("new_carrier", "new_waybill_no", "received_at"),
}
"""Where orders (without a carrier) and waybills are heard of, and when."""

_LINKS: Final = """
    SELECT NULL AS carrier, order_id AS number, carrier AS other_carrier, waybill_no AS other_number
    FROM uploads WHERE received_at < $1
    UNION
    SELECT carrier, waybill_no, new_carrier, new_waybill_no FROM replacements WHERE received_at < $1
"""


def _heard(where: str) -> str:
    return " UNION ALL ".join(
        f"SELECT {carrier} AS carrier, {number} AS number, {at} AS heard_at FROM {table} WHERE {where.format(at)}"
        for table, (carrier, number, at) in _HEARD.items()
    )


_SAME: Final = "ON old.carrier IS NOT DISTINCT FROM young.carrier AND old.number = young.number"
_QUIET: Final = f"""
    WITH old AS MATERIALIZED (
        SELECT carrier, number, min(heard_at) AS since, max(heard_at) AS until, count(*) AS rows
        FROM ({_heard("{} < $1")}) GROUP BY carrier, number
    ),
    again AS (SELECT DISTINCT carrier, number FROM ({_heard("{} >= $1")}) AS young SEMI JOIN old {_SAME})
    SELECT * FROM old ANTI JOIN again AS young {_SAME}
"""
"""Orders and waybills not heard of since $1."""


class Slice(NamedTuple):
    """Whole subjects, to be deleted in one transaction."""

    subjects: pl.DataFrame
    """`carrier` (null: an order), `number`, and `group`, the same for all that are linked."""
    since: datetime
    """When they were first heard of."""
    until: datetime


class _Found(NamedTuple):
    slices: list[Slice]
    horizon: datetime
    """Up to where was looked."""


class Purger:
    """Deletes what is older than the retention, a step at a time. For the thread that commits.

    Attributes:
        rows: How many rows were deleted so far.
        seconds: How long the caller has waited for that.
    """

    def __init__(self, store: Store, engine: Engine, retention: timedelta | None) -> None:
        """`retention` None: nothing is ever deleted."""
        self._store = store
        self._engine = engine
        self._retention = retention
        self._due_at: datetime | None = None
        """The clock at which the next purge begins; None: now."""
        self._horizon: datetime | None = None
        """Of the purge that is under way: what was not heard of since may go."""
        self._looked = _LONG_AGO
        """Up to when subjects were looked for, in this purge or an earlier one."""
        self._thread = ThreadPoolExecutor(1, "purging")
        self._looking: Future[_Found] | None = None
        self._found_up_to = _LONG_AGO
        self._sweeps = 0
        self._slices: list[Slice] = []
        self._not_before = 0.0
        self._before: tuple[int, float] = (0, 0.0)
        self.rows = 0
        self.seconds = 0.0

    def step(self) -> None:
        """Go on with the purge, or begin one if it is due: a slice at most, and in the long run a fourth of the time."""
        started = time.monotonic()
        if self._retention is None or started < self._not_before:
            return
        self._step(self._retention)
        spent = time.monotonic() - started
        self.seconds += spent
        self._not_before = time.monotonic() + (_SHARE - 1) * spent

    def finish(self) -> None:
        """Purge everything that may go now, however long that takes."""
        if self._retention is None or self._engine.clock is None:
            return
        for last in (False, True):  # the purge that is under way, and one up to now
            if last:
                self._due_at = None
                self._step(self._retention)
            while self._horizon is not None:
                self._step(self._retention, wait=True)

    def close(self) -> None:
        """Wait until nothing is looked for any more."""
        self._thread.shutdown(cancel_futures=True)

    def _step(self, retention: timedelta, *, wait: bool = False) -> None:
        clock = self._engine.clock
        if self._horizon is None:
            if clock is not None and (self._due_at is None or clock >= self._due_at):
                self._due_at, self._horizon = clock + _EVERY, clock - retention
                self._before = self.rows, self.seconds
                self._engine.sweep_if_small()
                self._look()
        elif self._looking is not None:
            if wait or self._looking.done():
                found, self._looking = self._looking.result(), None
                self._slices, self._found_up_to = found
        elif self._sweeps != self._engine.sweeps:
            self._look()  # What was heard of in between may have left memory, which would not show any more.
        elif self._slices:
            self.rows += self._engine.purge(*self._slices.pop())
        else:
            self._looked = self._found_up_to
            self._go_on()

    def _look(self) -> None:
        assert self._horizon is not None
        self._slices, self._sweeps = [], self._engine.sweeps
        self._looking = self._thread.submit(_look, self._store, self._looked, self._horizon)

    def _go_on(self) -> None:
        """Look on, or when everything was looked at delete letters, and end the purge with the last of them."""
        assert self._horizon is not None
        if self._looked < self._horizon:
            self._look()
            return
        letters = self._store.purge_letters(self._horizon, _SLICE_LETTERS)
        self.rows += letters
        if letters < _SLICE_LETTERS:
            rows, seconds = self.rows - self._before[0], self.seconds - self._before[1]
            if rows:
                _log.info("purged %d rows not heard of since %s, in %.1f s", rows, self._horizon.isoformat(), seconds)
            self._horizon = None


def _look(store: Store, looked: datetime, horizon: datetime) -> _Found:
    """Find what may go of the oldest rows after `looked`, as far as one round goes."""
    waiting = store.sql(
        f"SELECT count(*) AS rows, min(heard_at) AS since FROM ({_heard('{} BETWEEN $1 AND $2')})", [looked, horizon]
    )
    rows, since = waiting.row(0)
    if rows > _ROUND_ROWS:
        share = f"SELECT approx_quantile(heard_at, {_ROUND_ROWS / rows}) FROM ({_heard('{} BETWEEN $1 AND $2')})"
        horizon = min(horizon, max(store.sql(share, [looked, horizon]).item(), since + timedelta(minutes=1)))
    quiet = store.sql(_QUIET, [horizon])
    return _Found(list(slices(grouped(quiet, store.sql(_LINKS, [horizon])))), horizon)


def grouped(quiet: pl.DataFrame, links: pl.DataFrame) -> pl.DataFrame:
    """Return of the `quiet` orders and waybills those that link to quiet ones only, with the `group` of all that are linked."""
    nodes = quiet.with_row_index("node")
    ends = links
    for end, carrier, number in (("node", "carrier", "number"), ("other", "other_carrier", "other_number")):
        found = nodes.select(
            pl.col("node").alias(end), pl.col("carrier").alias(carrier), pl.col("number").alias(number)
        )
        ends = ends.join(found, on=[carrier, number], how="left", nulls_equal=True)
    both = ends.drop_nulls(["node", "other"])
    nodes = nodes.with_columns(group=linked(len(nodes), both["node"].to_numpy(), both["other"].to_numpy()))
    outside = ends.filter(pl.col("node").is_null() != pl.col("other").is_null()).select(pl.coalesce("node", "other"))
    held = nodes["group"].gather(outside.to_series())
    return nodes.filter(~pl.col("group").is_in(held.implode())).drop("node")


def linked(count: int, ones: npt.NDArray[np.uint32], others: npt.NDArray[np.uint32]) -> npt.NDArray[np.uint32]:
    """Return of each of `count` nodes the smallest node that links, `ones` to `others`, lead to."""
    group = np.arange(count, dtype=np.uint32)
    while True:
        smaller = np.minimum(group[ones], group[others])
        following = group.copy()
        np.minimum.at(following, ones, smaller)
        np.minimum.at(following, others, smaller)
        following = following[following]
        if (following == group).all():
            return group
        group = following


def slices(subjects: pl.DataFrame) -> Iterator[Slice]:
    """Divide subjects (`_QUIET`, with `group`) into slices of about `_SLICE_ROWS` rows, by when they were first heard of."""
    groups = (
        subjects.group_by("group")
        .agg(pl.col("rows").sum(), pl.col("since").min(), pl.col("until").max())
        .sort("since", "group")
        .with_columns(slice=(pl.col("rows").cum_sum() - 1) // _SLICE_ROWS)
    )
    parts = subjects.select("carrier", "number", "group").join(groups.select("group", "slice"), on="group")
    bounds = groups.group_by("slice").agg(pl.col("since").min(), pl.col("until").max())
    members = parts.partition_by("slice", as_dict=True, include_key=False)
    for number, since, until in bounds.iter_rows():
        yield Slice(members[number,], since, until)
