"""What is older than the retention goes, whole subjects at a time; of everything else nothing changes.

The law: beside a stream that keeps everything runs one that purges, at any moment and in any batches. A subject that was heard of
within the retention at every purge has all its facts and the same flags in both; one that was not, and that nothing in memory
holds, is gone without a trace. What is about one subject is worked out here from the facts, row by row.
"""

import json
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline import purging
from pipeline.engine import Engine
from pipeline.purging import Purger, linked
from pipeline.store import Store
from pipeline.told import NOTHING
from schemas.frames import FACTS
from tests.histories import Event, histories, moment, received_at, rfc3339
from tests.pipeline.store_rows import commit
from tests.pipeline.store_rows import letters as letter_rows
from tests.pipeline.test_stream_is_batch import Stream, event, profiles

RETENTION = timedelta(days=62)
"""31 days more than what comes latest in `histories`."""
few = settings(max_examples=settings().max_examples // 5)
"""For laws that take seconds to try: two databases each, several batches, and a purge after each."""
Node = tuple[str | None, str]
"""An order (no carrier) or a waybill."""


class PurgingStream(Stream):
    """A stream that purges when it is told to."""

    retention: timedelta | None = RETENTION

    def _start(self) -> None:
        super()._start()
        self.engine = Engine(self.store, profiles(), self._lateness, retention=self.retention)
        self.purger = Purger(self.store, self.engine, self.retention)

    def restart(self) -> None:
        self.purger.close()
        super().restart()

    def facts(self) -> list[tuple[str, dict[str, Any]]]:
        return [
            (table, row) for table in FACTS for part in self.store.facts(table) for row in part.iter_rows(named=True)
        ]


class KeepingStream(PurgingStream):
    """One that would purge, but keeps everything."""

    retention = None


@contextmanager
def both(lateness: timedelta) -> Iterator[tuple[PurgingStream, PurgingStream]]:
    with PurgingStream.new(lateness) as purged, KeepingStream.new(lateness) as kept:
        assert isinstance(purged, PurgingStream)
        assert isinstance(kept, PurgingStream)
        yield purged, kept


def nodes_of(table: str, fact: dict[str, Any]) -> list[Node]:
    """What a fact is about, all of it linked."""
    nodes: list[Node] = [(None, fact["order_id"])] if "order_id" in fact else []
    if "waybill_no" in fact and table != "aftersale_facts":
        nodes.append((fact["carrier"], fact["waybill_no"]))
    if "new_waybill_no" in fact:
        nodes.append((fact["new_carrier"], fact["new_waybill_no"]))
    return nodes


def subjects(stream: PurgingStream) -> dict[Node, tuple[frozenset[Node], datetime]]:
    """Of each order and waybill all that it is linked to, itself included, and when any of these was last heard of."""
    parts: dict[Node, set[Node]] = {}
    heard: dict[Node, datetime] = defaultdict(lambda: datetime.min.replace(tzinfo=UTC))
    told = [(nodes_of(table, fact), fact["received_at"]) for table, fact in stream.facts()]
    told += [
        ([(None, order)], at) for order, at in stream.store.sql("SELECT order_id, changed_at FROM flag_log").iter_rows()
    ]
    for nodes, at in told:
        together = set(nodes).union(*(parts.get(node, set()) for node in nodes))
        for node in together:
            parts[node] = together
        for node in nodes:
            heard[node] = max(heard[node], at)
    return {node: (frozenset(part), max(heard[one] for one in part)) for node, part in parts.items()}


def about(stream: PurgingStream) -> dict[Node, list[str]]:
    """The facts about each order and waybill, with flags."""
    found: dict[Node, list[str]] = defaultdict(list)
    for table, fact in stream.facts():
        for node in nodes_of(table, fact):
            found[node].append(json.dumps([table, fact], default=str, sort_keys=True))
    flags = stream.store.sql("SELECT order_id, rule, status, change, changed_at, violated_at, evidence FROM flag_log")
    for row in flags.iter_rows():
        found[None, row[0]].append(str(row))
    return {node: sorted(rows) for node, rows in found.items()}


def in_memory(stream: PurgingStream, node: Node) -> bool:
    facts, (carrier, number) = stream.engine._facts, node
    if carrier is None:
        return bool(facts.orders.find(pl.DataFrame({"order_id": [number]}))[0] >= 0)
    return bool(facts.waybills.find(pl.DataFrame({"carrier": [carrier], "waybill_no": [number]}))[0] >= 0)


def shifted(history: list[Event], days: int, name: str) -> list[Event]:
    """The same history later, and about others."""
    times = ("occurred_at", "received_at", "extended_to", "applies_from", "applies_until")
    names = ("order_id", "waybill_no", "new_waybill_no")
    return [
        one
        | {key: rfc3339(moment(one[key]) + timedelta(days=days)) for key in times if key in one}
        | {key: one[key] + name for key in names if key in one}
        for one in history
    ]


@st.composite
def generations(draw: st.DrawFn) -> list[Event]:
    """Some histories one after the other, in order of receipt. Some are about what one before was about."""
    events: list[Event] = []
    for days in draw(st.sampled_from([(0, 5, 140), (0, 80, 190), (0, 70, 75), (0, 33, 61, 130)])):
        events += shifted(draw(histories()), days, draw(st.sampled_from(["", "", str(days), str(days), "b"])))
    return sorted(events, key=received_at)


@st.composite
def batches(draw: st.DrawFn, events: list[Event]) -> list[list[Event]]:
    """Cut into batches, each in any order."""
    cuts = sorted(draw(st.lists(st.integers(0, len(events)), max_size=8)))
    return [
        draw(st.permutations(events[begin:end])) for begin, end in zip([0, *cuts], [*cuts, len(events)], strict=True)
    ]


@few
@given(st.data(), st.sampled_from([0, 7, 30]), st.sampled_from([1, 5, 50_000]), st.sampled_from([1, 10, 5_000_000]))
def test_what_is_within_the_retention_is_as_if_nothing_was_ever_purged(
    data: st.DataObject, lateness_days: int, slice_rows: int, round_rows: int
) -> None:
    events = data.draw(generations())
    gone: set[Node] = set()
    with (
        pytest.MonkeyPatch.context() as patch,
        both(timedelta(days=lateness_days)) as (purged, kept),
    ):
        patch.setattr(purging, "_SLICE_ROWS", slice_rows)
        patch.setattr(purging, "_ROUND_ROWS", round_rows)
        for batch in data.draw(batches(events)):
            purged.feed(batch)
            kept.feed(batch)
            how = data.draw(st.sampled_from(["go on", "step", "finish", "restart"]))
            if how == "restart":
                purged.restart()
            if how == "step":
                purged.purger._not_before = 0
                purged.purger.step()
            if how == "finish":
                purged.purger.finish()
            gone |= old(kept)
        for stream in (purged, kept):
            if stream.engine.clock is not None:
                stream.engine.process(NOTHING, {}, stream.engine.clock + timedelta(days=lateness_days, seconds=1))
        purged.purger.finish()
        gone |= old(kept)
        compare(purged, kept, gone)
        purged.purger.close()


def old(kept: PurgingStream) -> set[Node]:
    """What may be purged by now."""
    if kept.engine.clock is None:
        return set()
    horizon = kept.engine.clock - RETENTION
    return {node for node, (_, heard) in subjects(kept).items() if heard < horizon}


def compare(purged: PurgingStream, kept: PurgingStream, gone: set[Node]) -> None:
    """`gone` is what may have been purged at some time, or something of it."""
    ours, theirs = about(purged), about(kept)
    now = old(kept)
    for node, (part, _) in subjects(kept).items():
        if not part & gone:
            assert ours[node] == theirs[node], "a subject within the retention has changed"
        elif part <= now and not any(in_memory(purged, one) for one in part):
            assert node not in ours, "a subject beyond the retention is there still"
    counted = dict(purged.store.sql("SELECT table_name, rows FROM purged").iter_rows())
    for table, rows in counted.items():
        of_both = [stream.store.sql(f"FROM {table}").height for stream in (purged, kept)]
        if not gone:
            assert [*of_both, rows] == [of_both[1], of_both[1], 0]


@few
@given(st.data())
def test_what_was_purged_and_comes_again_is_kept_out_and_raises_nothing(data: st.DataObject) -> None:
    events = data.draw(generations())
    with both(timedelta(days=1)) as (purged, kept):
        gone: set[Node] = set()
        for batch in data.draw(batches(events)):
            purged.feed(batch)
            kept.feed(batch)
            purged.purger.finish()
            gone |= old(kept)
        if purged.engine.clock is None:
            return
        before, flags, dead = about(purged), purged.flags(), purged.store.sql("FROM letters").height
        for batch in data.draw(batches(data.draw(st.permutations(events)))):
            purged.feed([one | {"event_id": "again"} for one in batch])
        after = about(purged)
        assert {node for node in after if node[0] is None} == {node for node in before if node[0] is None}
        orders = {number for carrier, number in before if carrier is None}
        sent = {one["order_id"]: one for one in events if "order_id" in one}
        assert {flag for flag in purged.flags() if flag.order_id not in orders} == set()
        if not gone:
            assert (after, purged.flags()) == (before, flags)
        letters = purged.store.sql("SELECT error FROM letters")["error"][dead:]
        assert all("retention_days" in error for error in letters)
        assert bool(len(letters)) == bool(sent.keys() - orders)
        purged.purger.close()


# Examples ------------------------------------------------------------------------------------------------------------

DAY = datetime.fromisoformat("2026-03-01T10:00:00+08:00")


def order(name: str, day: int, waybill_no: str | None = None) -> list[Event]:
    """An order that is shipped in time and delivered."""
    at, number = DAY + timedelta(days=day), waybill_no or name
    return [
        event("order_paid", at, order_id=name, platform="wechat_channels", merchant_id="m"),
        event("waybill_uploaded", at, order_id=name, carrier="zto", waybill_no=number),
        event("scan", at + timedelta(hours=1), carrier="zto", waybill_no=number, status="picked_up"),
        event("scan", at + timedelta(hours=2), carrier="zto", waybill_no=number, status="delivered"),
    ]


@pytest.fixture
def stream() -> Iterator[PurgingStream]:
    with PurgingStream.new(timedelta(days=1)) as stream:
        assert isinstance(stream, PurgingStream)
        yield stream
        stream.purger.close()


def orders_in(stream: PurgingStream) -> list[str]:
    return stream.store.sql("SELECT DISTINCT order_id FROM order_facts ORDER BY ALL")["order_id"].to_list()


def test_an_order_stays_as_long_as_anything_that_is_linked_to_it_is_heard_of(stream: PurgingStream) -> None:
    """Order a shares its waybill with b, b's other waybill was replaced, and its new number is scanned on day 60."""
    replaced = event("waybill_replaced", DAY, carrier="zto", waybill_no="b2", new_carrier="sf", new_waybill_no="b3")
    b2 = event("waybill_uploaded", DAY, order_id="b", carrier="zto", waybill_no="b2")
    stream.feed([*order("a", 0, "w"), *order("b", 0, "w"), b2, replaced, *order("c", 0)])
    stream.feed([event("scan", DAY + timedelta(days=60), carrier="sf", waybill_no="b3", status="delivered")])
    for day, left in ((61, ["a", "b", "c"]), (70, ["a", "b"]), (121, ["a", "b"]), (123, [])):
        stream.engine.process(NOTHING, {}, DAY + timedelta(days=day))
        stream.purger.finish()
        assert orders_in(stream) == left
    tables = stream.store.sql("SELECT table_name FROM purged WHERE rows > 0 ORDER BY ALL")["table_name"].to_list()
    assert tables == ["flag_log", "order_facts", "replacements", "scans", "uploads"]
    assert stream.store.sql("FROM flags").is_empty()


def test_an_order_that_waits_or_was_flagged_within_the_retention_stays(stream: PurgingStream) -> None:
    promise = {"platform": "elsewhere", "merchant_id": "m", "ship_within_hours": 2160}
    stream.feed([event("order_paid", DAY, order_id="a", **promise)])
    for day, left in ((63, ["a"]), (89, ["a"]), (93, ["a"]), (150, ["a"]), (160, [])):
        stream.engine.process(NOTHING, {}, DAY + timedelta(days=day))
        stream.purger.finish()
        assert orders_in(stream) == left
        assert bool(stream.flags()) == (day in (93, 150))


def test_what_is_heard_of_between_looking_and_deleting_stays(stream: PurgingStream) -> None:
    stream.feed([*order("a", 0), *order("b", 0)])
    stream.engine.process(NOTHING, {}, DAY + timedelta(days=64))
    stream.purger.step()  # looks
    assert stream.purger._looking is not None
    stream.purger._looking.result()
    stream.feed([event("address_changed", DAY + timedelta(days=64), order_id="a", address={"text": "北京市"})])
    stream.purger.finish()
    assert orders_in(stream) == ["a"]
    assert stream.store.sql("SELECT waybill_no, count(*) FROM scans GROUP BY ALL").rows() == [("a", 2)]


def test_what_was_chosen_before_memory_was_swept_is_chosen_anew(stream: PurgingStream) -> None:
    stream.feed(order("a", 0))
    stream.engine.process(NOTHING, {}, DAY + timedelta(days=64))
    stream.purger.step()
    assert stream.purger._looking is not None
    stream.purger._looking.result()
    stream.feed([event("address_changed", DAY + timedelta(days=64), order_id="a", address={"text": "北京市"})])
    stream.engine.process(NOTHING, {}, DAY + timedelta(days=70))
    stream.engine.sweep_if_small()
    assert not in_memory(stream, (None, "a"))
    stream.purger.finish()
    assert orders_in(stream) == ["a"]


def test_slices_are_bounded_and_a_restart_numbers_on(
    stream: PurgingStream, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    monkeypatch.setattr(purging, "_SLICE_ROWS", 40)
    deleted: list[int] = []
    purge = Store.purge
    monkeypatch.setattr(Store, "purge", lambda *arguments: deleted.append(purge(*arguments)) or deleted[-1])
    stream.feed([one for number in range(100) for one in order(f"o{number}", 0)])
    late = [event("order_paid", DAY, order_id=f"p{n}", platform="douyin", merchant_id="m") for n in range(5)]
    stream.feed([*late, event("order_cancelled", DAY + timedelta(days=30), order_id="x")])
    seq = stream.store.sql("SELECT max(seq) FROM flag_log").item()
    assert seq > 5
    stream.engine.process(NOTHING, {}, DAY + timedelta(days=200))
    stream.purger.finish()
    assert max(deleted) <= 40
    assert sum(deleted) == stream.purger.rows == 400 + 5 + 1 + seq
    assert f"purged {stream.purger.rows} rows not heard of since" in caplog.text
    assert stream.fact_count() == 0
    for keys in (stream.engine._facts.orders, stream.engine._facts.waybills):
        assert (len(keys), len(keys._absent)) == (0, 0), "keys of what was purged are known still"
    stream.restart()
    stream.feed([one | {"occurred_at": (DAY + timedelta(days=200)).isoformat()} for one in late])
    stream.engine.process(NOTHING, {}, DAY + timedelta(days=210))
    assert stream.store.sql("SELECT min(seq) FROM flag_log").item() == seq + 1


def test_old_dead_letters_go_and_their_numbers_are_not_given_again(
    stream: PurgingStream, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(purging, "_SLICE_LETTERS", 3)
    letters = [{"source": "t/0", "position": number, "raw": b"x", "error": "e"} for number in range(7)]
    now = datetime.now(UTC)
    stream.store.commit(commit(dead=letter_rows(*letters), clock=now))
    stream.engine.clock = now
    for days, left in ((61, 7), (64, 0)):
        stream.engine.process(NOTHING, {}, now + timedelta(days=days))
        stream.purger.finish()
        assert stream.store.sql("FROM dead_letters").height == left
    stream.restart()
    stream.store.commit(commit(dead=letter_rows(letters[0])))
    assert stream.store.sql("SELECT id FROM letters")["id"].to_list() == [8]


def test_an_old_event_of_an_order_that_becomes_known_can_be_redriven(stream: PurgingStream) -> None:
    """The letter has the message as it came; in one batch with something recent of its order it is no letter at all."""
    stream.engine.process(NOTHING, {}, DAY + timedelta(days=100))
    old_events = order("a", 0) + order("b", 0)
    recent = [event("order_cancelled", DAY + timedelta(days=100), order_id=name) for name in "ab"]
    stream.feed([*old_events, recent[0]])
    letters = stream.store.letters_after(0, dead_only=True)
    assert [json.loads(raw) for raw in letters["raw"]] == [one for one in old_events if one.get("order_id") == "b"]
    assert letters["position"].to_list() == [4, 5]
    assert orders_in(stream) == ["a"]
    stream.feed([recent[1]])
    stream.feed([json.loads(raw) for raw in letters["raw"]])
    assert orders_in(stream) == ["a", "b"]


@given(st.integers(1, 30), st.data())
def test_nodes_are_of_one_group_when_links_lead_from_one_to_the_other(count: int, data: st.DataObject) -> None:
    links = data.draw(st.lists(st.tuples(st.integers(0, count - 1), st.integers(0, count - 1)), max_size=40))
    expected = list(range(count))
    for one, other in links:
        low, high = sorted((expected[one], expected[other]))
        expected = [low if group == high else group for group in expected]
    ones, others = (np.array([link[end] for link in links], np.uint32) for end in (0, 1))
    assert linked(count, ones, others).tolist() == expected
