"""The law that everything rests on: the stream gives the flags that a batch over the same facts gives.

Whatever the order, the repetitions, the batches, the restarts, and whatever has left memory in between: what stands in the
database are the flags of the oracle, and every fact is there once.
"""

import itertools
import json
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detectors._profiles import Profiles
from pipeline import engine as engine_module
from pipeline import memory
from pipeline.decoding import Decoding
from pipeline.engine import Engine
from pipeline.profile_views import profile_views
from pipeline.profiles import load_profiles
from pipeline.store import Offset, Store
from pipeline.told import NOTHING
from schemas.frames import FACTS, RECORDS
from tests.histories import START, Event, Restart, arrivals, content_of, histories, instants, transfers
from tests.oracle import Flag, judge, received_at
from tests.oracle_profiles import PLATFORMS, TESTMARKET

EVERYWHERE = PLATFORMS | {"testmarket": TESTMARKET}
"""What `profiles()` say, as the oracle has it."""
DECODER = Decoding(b"key of the tests")
SHIPMENT = ("order_id", "carrier", "waybill_no", "paid_at", "uploaded_at", "picked_up_at", "moved_at", "first_hub_at")
SHIPMENT += ("last_scanned_at", "turned_back", "cancelled_at")
fewer = settings(max_examples=settings().max_examples // 3)
"""For laws that take seconds to try: a database each, and several batches."""


@cache
def profiles() -> Profiles:
    """The shipped platforms, and one that has everything a profile may say."""
    return load_profiles(Path(__file__).parent.parent / "profiles")


class Stream:
    """A pipeline over one database that can be restarted."""

    def __init__(
        self,
        folder: Path,
        lateness: timedelta = timedelta(days=7),
        warn: timedelta | None = None,
        *,
        keeps: bool = False,
    ) -> None:
        self._path = folder / "stream.duckdb"
        self._lateness = lateness
        self._warn = warn
        self._keeps = keeps
        self._start()

    @classmethod
    @contextmanager
    def new(
        cls, lateness: timedelta = timedelta(days=7), warn: timedelta | None = None, *, keeps: bool = False
    ) -> Iterator["Stream"]:
        """A stream in a folder in memory, where there is one: the laws are not about the disk.

        If it `keeps` its memory, a restart begins with that, as `engine.close` has left it.
        """
        folder = Path(tempfile.mkdtemp(dir="/dev/shm" if Path("/dev/shm").is_dir() else None))
        stream = cls(folder, lateness, warn, keeps=keeps)
        try:
            yield stream
        finally:
            stream.store.close()
            shutil.rmtree(folder)

    def _start(self) -> None:
        self.store = Store(self._path, copy_every_seconds=3600, extra_views=profile_views(profiles()))
        every = 3600 if self._keeps else None
        self.engine = Engine(self.store, profiles(), self._lateness, warn=self._warn, memory_every_seconds=every)

    def restart(self) -> None:
        self.store.close()
        self._start()

    def feed(self, events: list[Event]) -> None:
        values = [json.dumps(event).encode() for event in events]
        records = pl.DataFrame({"value": values}, schema={"value": pl.Binary}).select(
            "value",
            source=pl.lit("test/0"),
            position=pl.int_range(pl.len()),
            recorded_at=pl.lit(None, RECORDS["recorded_at"]),
        )
        told = DECODER.decode(records)
        assert not len(told.letters), told.letters["error"].to_list()
        self.engine.process(told, {"test/0": Offset(len(events), None)}, told.latest())

    def flags(self) -> set[Flag]:
        standing = self.store.flags().filter(pl.col("status") != "cleared")
        flags = [Flag(*row) for row in standing.select(Flag._fields).iter_rows()]
        assert len(flags) == len(set(flags)), "a flag stands twice"
        return set(flags)

    def fact_count(self) -> int:
        return sum(len(frame) for table in FACTS for frame in self.store.facts(table))


@given(st.data(), st.sampled_from([0, 1, 30, 400]), st.sampled_from([0, 20, 1_000_000]))
def test_any_arrival_of_a_history_gives_the_flags_of_the_oracle(
    data: st.DataObject, lateness_days: int, swept: int
) -> None:
    history = data.draw(histories())
    pieces = data.draw(arrivals(history))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(engine_module, "_ROWS_SWEPT_MIN", swept)
        with Stream.new(timedelta(days=lateness_days)) as stream:
            for piece in pieces:
                stream.restart() if isinstance(piece, Restart) else stream.feed(piece)
            assert stream.flags() == judge(history, platforms=EVERYWHERE)
            assert stream.fact_count() == len({content_of(event) for event in history})


@fewer
@given(st.data(), st.sampled_from([1, 400]), st.sampled_from([0, 20, 1_000_000]))
def test_a_start_from_memory_that_was_kept_is_as_one_from_all_facts(
    data: st.DataObject, lateness_days: int, swept: int
) -> None:
    """However old the memory is, and whatever was committed, swept and brought back since."""
    history = data.draw(histories())
    clock = max((received_at(event) for event in history), default=START)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(engine_module, "_ROWS_SWEPT_MIN", swept)
        patch.setattr(memory, "_ROWS_MIN", 0)
        with Stream.new(timedelta(days=lateness_days), keeps=True) as stream:
            for piece in data.draw(arrivals(history)):
                stream.restart() if isinstance(piece, Restart) else stream.feed(piece)
                if data.draw(st.booleans()):
                    stream.engine.close()
            stream.restart()
            assert stream.flags() == judge(history, platforms=EVERYWHERE)
            clock += timedelta(days=data.draw(st.sampled_from((1, 3, 30))))
            stream.engine.process(NOTHING, {}, clock)
            assert stream.flags() == judge(history, clock, EVERYWHERE)


@given(st.data())
def test_the_waybill_that_counts_after_transfers_is_the_one_of_the_oracle(data: st.DataObject) -> None:
    history = data.draw(transfers())
    clock = START + timedelta(hours=data.draw(st.sampled_from((25, 26, 49, 1000))))
    with Stream.new() as stream:
        for piece in data.draw(arrivals(history)):
            stream.restart() if isinstance(piece, Restart) else stream.feed(piece)
        clock = max(clock, *map(received_at, history))
        stream.engine.process(NOTHING, {}, clock)
        assert stream.flags() == judge(history, clock, EVERYWHERE)


@fewer
@given(st.data())
def test_facts_that_contradict_each_other_are_settled_alike_in_any_arrival(data: st.DataObject) -> None:
    history = data.draw(histories(contradictions=True))
    results = []
    for pieces in (data.draw(arrivals(history)), data.draw(arrivals(history))):
        with Stream.new() as stream:
            for piece in pieces:
                stream.restart() if isinstance(piece, Restart) else stream.feed(piece)
            flags = stream.store.flags().filter(pl.col("status") != "cleared")
            results.append(flags.select("flag_id", "rule", "status", "violated_at", "evidence").sort("flag_id"))
    assert results[0].equals(results[1])


@given(histories(), st.lists(st.integers(1, 400), min_size=1, max_size=5))
def test_time_passing_alone_raises_what_the_oracle_raises_at_each_moment(
    history: list[Event], hours: list[int]
) -> None:
    if not history:
        return
    with Stream.new() as stream:
        stream.feed(history)
        clock = max(received_at(event) for event in history)
        for step in hours:
            clock += timedelta(hours=step)
            stream.engine.process(NOTHING, {}, clock)
            assert stream.flags() == judge(history, clock, EVERYWHERE)


WARN_HOURS = (1, 24, 48, 200)


@fewer
@given(st.data(), st.sampled_from(WARN_HOURS), st.lists(st.sampled_from((1, 23, 24, 47, 120)), max_size=4))
def test_what_will_be_missed_soon_is_warned_of_until_it_is_met_or_missed(
    data: st.DataObject, warn_hours: int, steps: list[int]
) -> None:
    """In any arrival, and as time passes: what is at risk at a moment are the obligations that the oracle finds then."""
    history = data.draw(histories())
    clock = max((received_at(event) for event in history), default=None)
    with Stream.new(warn=timedelta(hours=warn_hours)) as stream:
        for piece in data.draw(arrivals(history)):
            stream.restart() if isinstance(piece, Restart) else stream.feed(piece)
        assert stream.flags() == judge(history, platforms=EVERYWHERE, warn_hours=warn_hours)
        for step in steps if clock is not None else ():
            clock += timedelta(hours=step)
            stream.engine.process(NOTHING, {}, clock)
            assert stream.flags() == judge(history, clock, EVERYWHERE, warn_hours)


@fewer
@given(histories(), st.sampled_from(WARN_HOURS), instants())
def test_a_warning_comes_and_goes_in_the_course_of_events(
    history: list[Event], warn_hours: int, as_of: datetime
) -> None:
    """Day by day, as events are received: after each day, the flags are those that the oracle finds by then."""
    known: list[Event] = []
    received = sorted((event for event in history if received_at(event) <= as_of), key=received_at)
    with Stream.new(warn=timedelta(hours=warn_hours)) as stream:
        for _, day in itertools.groupby(received, lambda event: received_at(event).date()):
            stream.feed(events := list(day))
            known += events
            assert stream.flags() == judge(known, platforms=EVERYWHERE, warn_hours=warn_hours)


@fewer
@given(histories())
def test_the_columns_that_rules_see_are_the_columns_that_analysts_query(history: list[Event]) -> None:
    """The views `orders`, `shipments` and `at_risk` say in SQL what the engine condenses in columns."""
    with Stream.new() as stream:
        stream.feed(history)
        facts = stream.engine._facts
        every_order = pl.Series(range(len(facts.orders)), dtype=pl.Int32).to_numpy()
        views = engine_module.condense(facts, every_order, stream.engine._judge.within_origin(facts))
        named = views.shipment.hstack(facts.orders.names(views.shipment["order"].to_numpy())).hstack(
            facts.waybills.names(views.shipment["waybill"].to_numpy())
        )
        ours = named.select(SHIPMENT).sort(SHIPMENT[:3])
        theirs = stream.store.sql("FROM shipments").select(SHIPMENT).sort(SHIPMENT[:3])
        assert ours.rows() == theirs.rows()
        waiting = facts.orders.names(every_order).with_columns(due=pl.Series(facts.order_state["due"]))
        at_risk = stream.store.sql(
            "SELECT order_id, epoch_us(min(deadline)) // 1000000 AS due FROM at_risk GROUP BY order_id"
        )
        exempt = facts.orders.names(views.exemptions["order"].to_numpy())["order_id"].implode()
        expected = waiting.filter((pl.col("due") != 2**32 - 1) & ~pl.col("order_id").is_in(exempt))
        assert set(expected.rows()) == set(at_risk.filter(~pl.col("order_id").is_in(exempt)).rows())


def event(kind: str, at: datetime, **fields: Any) -> Event:
    return {"type": kind, "occurred_at": at.isoformat(), **fields}


def test_a_flag_clears_with_the_reason_when_a_late_fact_shows_that_there_was_no_violation() -> None:
    day = datetime.fromisoformat("2026-11-01T10:00:00+08:00")
    upload = event("waybill_uploaded", day, order_id="o1", carrier="zto", waybill_no="w1")
    noise = event("order_cancelled", day + timedelta(days=2), order_id="o2")
    pickup = event("scan", day + timedelta(hours=3), carrier="zto", waybill_no="w1", status="picked_up")
    pickup["received_at"] = (day + timedelta(days=2)).isoformat()
    with Stream.new() as stream:
        stream.feed([upload, noise])
        opened = stream.store.sql("FROM flags").row(0, named=True)
        assert (opened["rule"], opened["status"]) == ("no_pickup_scan", "open")
        assert opened["violated_at"] == day + timedelta(hours=24)
        stream.feed([pickup])
        cleared = stream.store.sql("FROM flags WHERE rule = 'no_pickup_scan'").row(0, named=True)
        assert (cleared["flag_id"], cleared["status"]) == (opened["flag_id"], "cleared")
        assert cleared["cleared_at"] is not None
        assert json.loads(cleared["evidence"])["picked_up_at"] == "2026-11-01T05:00:00.000000Z"
        assert "late" in cleared["reason"]
        changes = stream.store.sql("SELECT change FROM flag_history WHERE rule = 'no_pickup_scan' ORDER BY seq")
        assert changes["change"].to_list() == ["opened", "cleared"]


def test_more_orders_falling_due_at_once_than_one_commit_takes_are_all_judged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_module, "_ORDERS_JUDGED_MAX", 3)
    day = datetime.fromisoformat("2026-11-01T10:00:00+08:00")
    orders = [
        event("order_paid", day, order_id=f"o{n}", platform="wechat_channels", merchant_id="m") for n in range(10)
    ]
    with Stream.new() as stream:
        stream.feed(orders)
        assert stream.flags() == set()
        stream.engine.process(NOTHING, {}, day + timedelta(days=30))
        assert stream.flags() == judge(orders, day + timedelta(days=30))


@pytest.mark.parametrize(
    "scope", [{"merchant_id": "m"}, {"platform": "douyin"}, {"platform": "douyin", "merchant_id": "m"}]
)
def test_an_exemption_of_many_reaches_flagged_orders_that_have_left_memory(
    scope: dict[str, str],
) -> None:
    day = datetime.fromisoformat("2026-11-01T10:00:00+08:00")
    paid = [event("order_paid", day, order_id=n, platform="douyin", merchant_id="m") for n in "ab"]
    other = event("order_paid", day, order_id="c", platform="elsewhere", merchant_id="n")
    uploads = [
        event("waybill_uploaded", day + timedelta(days=5), order_id=n, carrier="zto", waybill_no=n) for n in "abc"
    ]
    pickups = [event("scan", day + timedelta(days=5), carrier="zto", waybill_no=n, status="picked_up") for n in "abc"]
    moves = [event("scan", day + timedelta(days=6), carrier="zto", waybill_no=n, status="delivered") for n in "abc"]
    exemption = event("exemption_granted", day + timedelta(days=40), rules=["late_shipment", "unable_to_ship"], **scope)
    with Stream.new(timedelta(days=1)) as stream:
        stream.feed([*paid, other, *uploads, *pickups, *moves])
        stream.engine._rows_to_sweep_at = 0
        stream.feed([event("order_cancelled", day + timedelta(days=30), order_id="z")])
        assert stream.engine.size()["orders"] == 1
        stream.feed([exemption])
        assert {(flag.order_id, flag.status) for flag in stream.flags() if flag.rule == "late_shipment"} == {
            ("a", "exempt"),
            ("b", "exempt"),
            ("c", "open"),
        }


def test_cases_of_an_order_that_nobody_paid_wait_without_a_warning() -> None:
    day = datetime.fromisoformat("2026-11-01T10:00:00+08:00")
    opened = [
        event("aftersale_opened", day, order_id="a", aftersale_id=case) | {"kind": "refund_only"}
        for case in ("r1", "r2")
    ]
    with Stream.new(warn=timedelta(hours=1)) as stream:
        stream.feed(opened)
        stream.engine.process(NOTHING, {}, day + timedelta(hours=47, minutes=30))
        assert stream.flags() == set()


@pytest.mark.parametrize("microseconds", [-1, 0, 1])
@pytest.mark.parametrize("end", ["applies_from", "applies_until"])
def test_a_period_includes_both_its_ends_to_the_microsecond(end: str, microseconds: int) -> None:
    day = datetime.fromisoformat("2026-11-01T10:00:00+08:00")
    paid = event("order_paid", day, order_id="a", platform="wechat_channels", merchant_id="m")
    late = event("waybill_uploaded", day + timedelta(days=20), order_id="a", carrier="zto", waybill_no="1")
    bound = (day + timedelta(hours=48, microseconds=microseconds)).isoformat()
    exemption = event("exemption_granted", day, merchant_id="m", rules=["late_shipment"]) | {end: bound}
    covered = microseconds <= 0 if end == "applies_from" else microseconds >= 0
    with Stream.new() as stream:
        stream.feed([paid, late, exemption])
        (flag,) = (flag for flag in stream.flags() if flag.rule == "late_shipment")
        assert flag.status == ("exempt" if covered else "open")


def test_a_region_closed_afterwards_excuses_whom_it_held_up_and_nobody_else() -> None:
    day = datetime.fromisoformat("2026-11-01T10:00:00+08:00")
    places = {"a": "河南省 郑州市", "b": "广东省 深圳市", "c": "河南省洛阳市洛龙区某路1号"}
    paid = [
        event("order_paid", day, order_id=n, platform="elsewhere", merchant_id="m") | {"address": {"text": place}}
        for n, place in places.items()
    ]
    tick = event("order_cancelled", day + timedelta(hours=49), order_id="z")
    moved = event("address_changed", day + timedelta(hours=50), order_id="c", address={"text": "北京市海淀区"})
    closed = event("exemption_granted", day + timedelta(hours=60), region="河南省", rules=["*"])
    with Stream.new() as stream:
        for batch in ([*paid, tick], [moved], [closed]):
            stream.feed(batch)
        assert {(flag.order_id, flag.status) for flag in stream.flags()} == {
            ("a", "exempt"),
            ("b", "open"),
            ("c", "open"),
        }


def test_the_last_place_before_a_transfer_may_be_seen_at_its_very_moment() -> None:
    day = datetime.fromisoformat("2026-11-01T10:00:00+08:00")
    paid = event("order_paid", day, order_id="a", platform="wechat_channels", merchant_id="m")
    upload = event("waybill_uploaded", day, order_id="a", carrier="zto", waybill_no="1")

    def seen(hours: float, status: str, city: str) -> Event:
        told = {"carrier": "zto", "waybill_no": "1", "status": status, "location": {"city": city}}
        return event("scan", day + timedelta(hours=hours), **told)

    old = [seen(1, "picked_up", "杭州市"), seen(5, "in_transit", "深圳市"), seen(6, "delivered", "深圳市")]
    handed = event("waybill_replaced", day + timedelta(hours=5), carrier="zto", waybill_no="1", new_carrier="sf")
    tick = event("order_cancelled", day + timedelta(hours=30), order_id="z")
    with Stream.new() as stream:
        stream.feed([paid, upload, *old, handed | {"new_waybill_no": "2"}, tick])
        assert stream.flags() == set()  # out of the province: the old number counts on, and it was picked up
