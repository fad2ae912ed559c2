"""The engine: new facts and the clock in, changed flags out, everything committed together.

What is flagged is a function of the facts known and of the clock. A batch is only an occasion to look again at the orders
that it touches and at those whose deadlines have passed.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from hashlib import blake2b
from json.encoder import encode_basestring
from time import perf_counter
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl

from detectors._profiles import Profiles
from pipeline.arrays import NONE, Bools, Ints, distinct, taken
from pipeline.condense import condense
from pipeline.facts import Facts, Touched
from pipeline.judge import PICKUP_RULES, Flags, Judge
from pipeline.memory import Held, Kept, MemoryFile
from pipeline.packing import (
    FLAG_STATUSES,
    RULE_CODES,
    UNKNOWN,
    Times,
    evidence_digest,
    since_epoch,
    time_column,
    to_micros,
)
from pipeline.store import Commit, Offset, Store
from pipeline.tables import with_values
from pipeline.told import NOTHING, Told
from schemas.frames import FACTS, FLAG_LOG, LETTERS

_TOO_OLD: Final = (
    "occurred_at: longer ago than the {days} days of retention_days, and the order is not known: it was purged, or this is all "
    "that came of it; redrive this with a longer retention, or once the order is known"
)

_OPEN, _CLEARED, _EXEMPT, _AT_RISK, _AVERTED = range(len(FLAG_STATUSES))
_REOPENED, _AMENDED = range(len(FLAG_STATUSES), len(FLAG_STATUSES) + 2)
_KEYS: Final = ("order", "waybill", "case", "rule")
_TIMES: Final = ("violated_at", "detected_at")
_RULE_NAMES: Final = pl.Series(RULE_CODES)
_STATUS_NAMES: Final = pl.Series(FLAG_STATUSES)
_CHANGE_NAMES: Final = pl.Series(["opened", "cleared", "exempted", "warned", "averted", "reopened", "amended"])
"""What became of a flag: by its new status, or else `_REOPENED` or `_AMENDED`."""
_REASONS: Final = pl.Series(
    [
        "the platform's rules no longer ask this of the order",
        "the order had been cancelled in time",
        "the case had been settled in time",
        "an exemption moved the deadline",
        "a fact that arrived late shows that it was not violated",
        "an exemption was granted",
        "met or lifted before the deadline",
        None,
    ]
)
_ROWS_SWEPT_MIN: Final = 1_000_000
"""Below this, memory is not worth sweeping, rows."""
_SHARE_SWEPT_MIN: Final = 0.1
"""Nor is it worth copying all that stays, if less than this would go."""
_ORDERS_JUDGED_MAX: Final = 50_000
"""More orders than this fall due in parts, each with its own commit."""

_NOTHING: Final = Touched(*[np.empty(0, np.int32)] * len(Touched._fields))


class _Standing(NamedTuple):
    """How flags stand: columns of memory."""

    status: npt.NDArray[np.uint8]
    violated_at: Times
    detected_at: Times
    evidence: npt.NDArray[np.uint64]


class Outcome(NamedTuple):
    """What one batch did."""

    events: int
    new_facts: int
    letters: int
    changes: pl.DataFrame
    """`FLAG_LOG` rows."""
    seconds: float


class Engine:
    """Judges facts as they come. The store is the truth; memory is an index of it, rebuilt at the start."""

    def __init__(
        self,
        store: Store,
        profiles: Profiles,
        lateness: timedelta = timedelta(days=7),
        *,
        warn: timedelta | None = None,
        retention: timedelta | None = None,
        memory_every_seconds: float | None = None,
    ) -> None:
        """Rebuild memory from `store`.

        Args:
            store: Where everything is kept.
            profiles: The rules of every platform.
            lateness: How long subjects that wait for no deadline stay in memory after they were last heard of. Facts that come
                later are judged all the same, at the price of reading their subject back from the store.
            warn: How long before its deadline an obligation is flagged as at risk; None: not at all.
            retention: How long what is not heard of any more is kept (`purging.py`). What happened longer ago to an order that
                is not known is a dead letter: it may be what was purged, and would look like a new order that is late.
            memory_every_seconds: How often memory is written to a file, for the next start; None: never, and none is read.
        """
        self._store = store
        self._judge = Judge(profiles, warn)
        self._lateness = to_micros(lateness)
        self._retention = retention
        self.sweeps = 0
        """How often subjects have left memory."""
        self._facts = Facts()
        self.clock: datetime | None = store.clock()
        """As of when flags are judged, UTC; it never goes back. None until something has moved it."""
        self._rows_to_sweep_at = _ROWS_SWEPT_MIN
        self._memory = None if memory_every_seconds is None else MemoryFile(store, memory_every_seconds)
        self._judged_by = blake2b(repr((profiles.editions(), warn)).encode(), digest_size=16).hexdigest()
        self._restore()

    def process(
        self,
        told: Told,
        offsets: Mapping[str, Offset],
        clock: datetime | None,
        redriven: Sequence[int] = (),
    ) -> Outcome:
        """Absorb facts, judge what they touch and what has fallen due at `clock`, and commit everything in one transaction.

        It is durable when the store next answers, or settles; what goes wrong then is raised there, or by the next batch.

        `clock` None, or earlier than the clock, leaves the clock where it is. `redriven` are the ids of dead letters that these
        facts were.
        """
        started = perf_counter()
        told = self._without_the_forgotten(told)
        if clock is not None and (self.clock is None or clock > self.clock):
            self.clock = clock
        heard_at = self._now(told)
        self._bring_back(told.facts, heard_at)
        new, touched = self._facts.add(told.facts, heard_at)
        due = self._orders_due()
        orders = distinct(np.append(self._facts.orders_to_judge(touched), due[:_ORDERS_JUDGED_MAX]))
        changes = self._rejudge(orders, heard_at)
        # While this is written, the next batch can be judged: that needs memory alone.
        self._store.commit_soon(Commit(new, changes, told.letters, offsets, self.clock, redriven=redriven))
        changes = pl.concat([changes, *self._judge_in_parts(due[_ORDERS_JUDGED_MAX:], heard_at)])
        self._forget()
        if self._memory is not None:
            self._memory.tend(self._held())
        new_count = sum(len(frame) for frame in new.values())
        return Outcome(told.events, new_count, len(told.letters), changes, perf_counter() - started)

    def purge(self, subjects: pl.DataFrame, since: datetime, until: datetime) -> int:
        """Delete subjects that nothing keeps any more (`Store.purge`), but those in memory, and return how many rows those had.

        `subjects` has also `group`, the same for all that are linked: these go together or not at all.
        """
        facts = self._facts
        of_order = pl.col("carrier").is_null()
        orders = subjects.filter(of_order).select("group", order_id="number")
        waybills = subjects.filter(~of_order).select("group", "carrier", waybill_no="number")
        live = [
            some["group"].filter(pl.Series(keys.find(some.drop("group")) >= 0))
            for keys, some in ((facts.orders, orders), (facts.waybills, waybills))
        ]
        gone = ~pl.col("group").is_in(pl.concat(live).implode())
        if self._memory is not None and self._memory.sweeps != self.sweeps:
            # What has left memory since the file was written would be there again after a restart, and nowhere else.
            self._store.remember_memory(None)
        rows = self._store.purge(subjects.filter(gone), since, until)
        facts.drop(orders.filter(gone).drop("group"), waybills.filter(gone).drop("group"))
        return rows

    def sweep_if_small(self) -> None:
        """Let go of what has not been heard of for long now, if that takes no time. Large memories are swept as they grow."""
        if self.clock is not None and self._facts.rows() <= _ROWS_SWEPT_MIN:
            self._sweep(self.clock)

    def close(self) -> None:
        """Write memory to its file once more. Without it the next start has more to read."""
        if self._memory is not None:
            self._memory.close(self._held())

    def size(self) -> dict[str, int]:
        """Return how much is in memory, by kind of thing."""
        return self._facts.size()

    def _orders_due(self) -> Ints:
        return np.empty(0, np.int32) if self.clock is None else self._facts.orders_due(since_epoch(self.clock))

    def _judge_in_parts(self, orders: Ints, now: int) -> Iterator[pl.DataFrame]:
        """Judge `orders`, commit and yield the changes part by part. A crash in between is made good by the next start."""
        for first in range(0, len(orders), _ORDERS_JUDGED_MAX):
            changes = self._rejudge(orders[first : first + _ORDERS_JUDGED_MAX], now)
            if len(changes):
                self._store.commit_soon(Commit({}, changes, LETTERS.to_frame(), {}, self.clock))
            yield changes

    def _rejudge(self, orders: Ints, now: int) -> pl.DataFrame:
        if not len(orders):
            return FLAG_LOG.to_frame()
        as_of = None if self.clock is None else since_epoch(self.clock)
        flags = self._facts.flags
        known = self._facts.flags_by_order.rows(orders)
        again = flags["waybill"][known][np.isin(flags["rule"][known], PICKUP_RULES)]
        views = condense(self._facts, orders, self._judge.within_origin(self._facts), again)
        verdicts = self._judge.verdicts(views, self._facts, as_of, known)
        self._facts.set_due(orders, verdicts.due)
        return self._reconcile(verdicts.flags, now)

    def _reconcile(self, flags: Flags, now: int) -> pl.DataFrame:
        """Bring the flags in memory to what now holds, and return what that changes as `FLAG_LOG` rows."""
        memory = self._facts.flags
        violated_before, detected_before = (taken(memory[name], flags.known, UNKNOWN) for name in _TIMES)
        # A warning is no detection, and a flag that was only ever a warning has none.
        was_violated = detected_before != UNKNOWN
        was, status = taken(memory["status"], flags.known, _AVERTED), _status(flags, was_violated)
        violated_at = np.where(flags.violated_at == UNKNOWN, violated_before, flags.violated_at)
        digest = evidence_digest(flags.evidence)
        same = (digest == taken(memory["evidence"], flags.known, 0)) & (violated_at == violated_before)
        change = np.where(status != was, status.astype(np.int32), NONE)
        change[(status == _OPEN) & (was != _OPEN) & was_violated] = _REOPENED
        change[(status == was) & ~same & ~np.isin(status, (_CLEARED, _AVERTED))] = _AMENDED
        changed = np.flatnonzero(change != NONE).astype(np.int32)
        if not changed.size:
            return FLAG_LOG.to_frame()
        first = np.where(np.isin(status, (_OPEN, _EXEMPT)), now, UNKNOWN)
        stands = _Standing(
            status[changed],
            violated_at[changed],
            np.where(was_violated, detected_before, first)[changed],
            digest[changed],
        )
        flags = flags.of(changed)
        self._keep(flags, stands)
        return self._as_log(flags, stands, change[changed], violated_before[changed], now)

    def _keep(self, flags: Flags, stands: _Standing) -> None:
        memory = self._facts.flags
        old, new = flags.known != NONE, flags.known == NONE
        for name, column in stands._asdict().items():
            memory[name][flags.known[old]] = column[old]
        memory.append(
            {name: getattr(flags, name)[new] for name in _KEYS}
            | {name: column[new] for name, column in stands._asdict().items()},
            int(new.sum()),
        )
        self._facts.flags_by_order.append(flags.order[new])

    def _as_log(self, flags: Flags, stands: _Standing, change: Ints, violated_before: Times, now: int) -> pl.DataFrame:
        facts, count = self._facts, len(change)
        at = np.full(count, now, np.int64)
        names = {
            "rule": _RULE_NAMES[flags.rule],
            **facts.orders.names(flags.order).to_dict(),
            **facts.waybills.names(flags.waybill).to_dict(),
            "aftersale_id": facts.cases.names(flags.case)["aftersale_id"],
        }
        log = {
            "flag_id": pl.Series([_flag_id(*key) for key in zip(*names.values(), strict=True)]),
            **names,
            **self._judge.said(flags).to_dict(),
            **facts.platforms.names(flags.platform).to_dict(),
            **facts.merchants.names(flags.merchant).to_dict(),
            "violated_at": time_column("violated_at", stands.violated_at),
            "detected_at": time_column("detected_at", stands.detected_at),
            "status": _STATUS_NAMES[stands.status],
            "cleared_at": time_column("cleared_at", np.where(change == _CLEARED, at, UNKNOWN)),
            "evidence": flags.evidence,
            "change": _CHANGE_NAMES[change],
            "reason": _REASONS[_reason(flags, change, violated_before)],
            "changed_at": time_column("changed_at", at),
        }
        return pl.DataFrame({name: log[name] for name in FLAG_LOG}, FLAG_LOG)

    def _bring_back(self, facts: Mapping[str, pl.DataFrame], now: int) -> None:
        """Load the subjects of `facts` that have left memory, with everything they are linked to.

        An exemption of many orders is about all of them, but changes only what was flagged.
        """
        orders, waybills = self._facts.missing(facts)
        if "exemptions" in facts:
            flagged = self._facts.missing({"flags": self._store.flagged_orders(facts["exemptions"])})[0]
            orders = pl.concat([orders, flagged]).unique()
        while len(orders) or len(waybills):
            loaded = self._store.load(orders, waybills)
            flags = loaded.pop("flags")
            orders, waybills = self._beyond(loaded, orders, waybills)
            self._facts.add(loaded, now)
            self._facts.restore_flags(flags)

    def _beyond(
        self, loaded: Mapping[str, pl.DataFrame], orders: pl.Series, waybills: pl.DataFrame
    ) -> tuple[pl.Series, pl.DataFrame]:
        """Return what `loaded` leads to that has to be loaded as well."""
        more_orders, more_waybills = self._facts.missing(loaded)
        return (
            more_orders.filter(~more_orders.is_in(orders.implode())),
            more_waybills.join(waybills, on=["carrier", "waybill_no"], how="anti"),
        )

    def _forget(self) -> None:
        """Let go of what has not been heard of for long, each time memory has doubled."""
        if self.clock is not None and self._facts.rows() > self._rows_to_sweep_at:
            self._sweep(self.clock, _SHARE_SWEPT_MIN)
            self._rows_to_sweep_at = max(2 * self._facts.rows(), _ROWS_SWEPT_MIN)

    def _sweep(self, clock: datetime, share_min: float = 0.0) -> None:
        live = self._facts.forget_before(since_epoch(clock) - self._lateness, share_min)
        if live is self._facts:
            return
        self._facts = live
        self.sweeps += 1
        if self._memory is not None:
            self._memory.renew()

    def _held(self) -> Held:
        return Held(self._facts, self._judged_by, self._rows_to_sweep_at, self.sweeps)

    def _without_the_forgotten(self, told: Told) -> Told:
        """Make dead letters of what happened before the retention to orders that are neither known nor in this batch.

        The clock is the one before this batch. Scans stay: without an order they are no violation, and with one its history.
        """
        if self._retention is None or self.clock is None:
            return told
        happened = pl.min_horizontal("occurred_at", "received_at")  # what was known in advance is as old as its receipt
        since = self.clock - self._retention
        of_orders = {table: frame for table, frame in told.facts.items() if "order_id" in frame.columns}
        old = {table: frame.select(happened < since).to_series() for table, frame in of_orders.items()}
        if not any(each.any() for each in old.values()):
            return told
        recent = pl.concat([frame["order_id"].filter(~old[table]) for table, frame in of_orders.items()]).implode()
        forgotten = {
            table: old[table] & pl.Series(self._facts.orders.find(frame) == NONE) & ~frame["order_id"].is_in(recent)
            for table, frame in of_orders.items()
        }
        rows = pl.concat([told.rows[table].filter(each) for table, each in forgotten.items()]).unique().sort()
        letters = with_values(told.records[rows]).select(
            "source", "position", "recorded_at",
            raw=pl.col("value").fill_null(b""), error=pl.lit(_TOO_OLD.format(days=self._retention.days)),
        )  # fmt: skip
        kept = {table: frame.filter(~forgotten[table]) for table, frame in of_orders.items()}
        return told._replace(
            facts={table: kept.get(table, frame) for table, frame in told.facts.items()},
            letters=pl.concat([told.letters, letters.select(LETTERS.names())]),
        )

    def _restore(self) -> None:
        kept = None if self._memory is None else self._memory.load()
        if kept is None:
            self._restore_all()
        else:
            self._restore_from(kept)

    def _restore_all(self) -> None:
        """Read all facts, and judge every order."""
        for table in FACTS:
            for frame in self._store.facts(table):
                self._facts.add({table: frame}, _latest(frame["received_at"]))
        self._facts.restore_flags(self._store.flags())
        self._judge_all()
        self._forget()

    def _restore_from(self, kept: Kept) -> None:
        """Take what the file holds, read what was committed since, and judge what that touches."""
        self._facts, self._rows_to_sweep_at = kept.facts, kept.rows_to_sweep_at
        flags = self._store.flags()
        self._facts.restore_flags(flags.filter(pl.Series(self._facts.orders.find(flags) >= 0)))
        touched = []
        for table in FACTS:
            if kept.appended[table] == self._store.appended[table]:
                continue
            for frame in self._store.facts(table, kept.appended[table]):
                facts, heard_at = {table: frame}, _latest(frame["received_at"])
                self._bring_back(facts, heard_at)
                touched += [self._facts.add(facts, heard_at)[1], self._facts.touched_by(facts)]
        if kept.judged_by != self._judged_by:
            self._judge_all()
            return
        every = Touched(*(np.unique(np.concatenate(ids)) for ids in zip(_NOTHING, *touched, strict=True)))
        orders = np.union1d(self._facts.orders_to_judge(every), self._orders_due())
        for _ in self._judge_in_parts(orders, self._now(NOTHING)):
            pass

    def _judge_all(self) -> None:
        """Judge every order again: deadlines that passed between the last two commits, profiles that have changed since."""
        every_order = np.arange(len(self._facts.orders), dtype=np.int32)
        for _ in self._judge_in_parts(every_order, self._now(NOTHING)):
            pass

    def _now(self, told: Told) -> int:
        """Return when this is happening: the clock, or where it is unknown the latest moment that any fact tells of."""
        now = self.clock or told.latest()
        return 0 if now is None else since_epoch(now)


def _status(flags: Flags, was_violated: Bools) -> npt.NDArray[np.uint8]:
    violated = (flags.violated_at != UNKNOWN) & ~flags.at_risk
    holds = [violated & flags.exempt, violated, flags.at_risk, was_violated]
    return np.select(holds, [_EXEMPT, _OPEN, _AT_RISK, _CLEARED], _AVERTED).astype(np.uint8)


def _reason(flags: Flags, change: Ints, violated_before: Times) -> Ints:
    """Return which of `_REASONS` each change has."""
    extended = (flags.extended_to != UNKNOWN) & (flags.extended_to >= violated_before) & (violated_before != UNKNOWN)
    lifted = (flags.lifted_at != UNKNOWN) & (flags.lifted_at <= violated_before)
    cleared = np.select([~flags.judged, lifted & (flags.case == NONE), lifted, extended], [0, 1, 2, 3], 4)
    of = [change == _CLEARED, change == _EXEMPT, (change == _AT_RISK) & extended, change == _AVERTED]
    return np.select(of, [cleared, 5, 3, 6], len(_REASONS) - 1)


def _flag_id(
    rule: str, order_id: str, carrier: str | None, waybill_no: str | None, aftersale_id: str | None = None
) -> str:
    """Return the identity of a violation: the same for ever, on every machine."""
    about = [rule, order_id, carrier, waybill_no] + ([aftersale_id] if aftersale_id is not None else [])
    key = ",".join("null" if part is None else encode_basestring(part) for part in about)
    return blake2b(f"[{key}]".encode(), digest_size=16).hexdigest()


def _latest(times: pl.Series) -> int:
    latest = times.max()
    return since_epoch(latest) if isinstance(latest, datetime) else 0
