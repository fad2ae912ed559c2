"""What the laws of `test_stream_is_batch` would find only by luck: the short cuts that judging takes, each where it ends."""

from collections.abc import Mapping
from datetime import datetime, timedelta

import numpy as np
import polars as pl
import pytest

from detectors import RULES, Given, Rule
from detectors._contract import lie_apart
from pipeline import comparing
from pipeline import judge as judge_module
from pipeline.arrays import NONE
from pipeline.comparing import Comparisons
from pipeline.places import Places
from tests.oracle import judge
from tests.pipeline.test_stream_is_batch import Event, Stream, event

DAY = datetime.fromisoformat("2026-11-01T10:00:00+08:00")
CITIES = ("杭州市", "苏州市", "鼓楼区", "Springfield")


def paid(order_id: str, at: datetime = DAY, **fields: object) -> Event:
    return event("order_paid", at, order_id=order_id, platform="wechat_channels", merchant_id="m", **fields)


def uploaded(order_id: str, waybill: str, at: datetime = DAY) -> Event:
    return event("waybill_uploaded", at, order_id=order_id, carrier="zto", waybill_no=waybill)


def scan(waybill: str, status: str, hours: float, city: str = "杭州市") -> Event:
    at = DAY + timedelta(hours=hours)
    return event("scan", at, carrier="zto", waybill_no=waybill, status=status, location={"city": city})


class Arrived(Rule):
    """Asks for what no rule that comes with parcelwatch asks for but in its evidence."""

    title = "arrived"

    def violated_at(self, given: Given) -> pl.Expr:
        """Return when it was delivered in Suzhou to an address in Hangzhou."""
        del given
        there = (pl.col("drop_status") == "delivered") & pl.col("drop_city").str.ends_with("苏州市")
        return pl.when(there & pl.col("address_city").str.ends_with("杭州市")).then(pl.col("drop_at"))

    def evidence(self, given: Given) -> Mapping[str, pl.Expr]:
        """Show where."""
        del given
        return {"drop_place": pl.col("drop_place")}


def test_a_rule_may_ask_for_every_column_that_the_vocabulary_has(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(judge_module, "RULES", {**RULES, "address_mismatch": Arrived()})
    address = {"city": "杭州市"}
    with Stream.new() as stream:
        stream.feed(
            [
                *(
                    event_
                    for n in "abc"
                    for event_ in (paid(n, address=address), uploaded(n, n), scan(n, "picked_up", 1))
                ),
                scan("a", "delivered", 2, "苏州市"),
                scan("b", "out_for_delivery", 2, "苏州市"),
                scan("c", "delivered", 2),
            ]
        )
        flags = stream.store.flags().filter(rule="address_mismatch")
        assert flags.select("order_id", "evidence").rows() == [("a", '{"drop_place":"苏州市"}')]


def test_what_is_sent_again_first_does_not_make_the_order_shipped_in_time() -> None:
    late = DAY + timedelta(days=4)
    again = event("resend_shipped", DAY, order_id="a", aftersale_id="r", carrier="zto", waybill_no="w")
    events = [paid("a"), again, uploaded("a", "w", late)]
    with Stream.new() as stream:
        stream.feed(events)
        assert stream.flags() == judge(events)
        assert "late_shipment" in {flag.rule for flag in stream.flags()}


def test_a_repeated_pickup_is_cleared_when_other_scans_turn_out_to_count() -> None:
    events = [paid("a"), uploaded("a", "w"), scan("w", "picked_up", 1), scan("w", "picked_up", 2, "苏州市")]
    corrected = event("waybill_replaced", DAY, carrier="zto", waybill_no="w", new_carrier="zto", new_waybill_no="x")
    corrected["kind"] = "correction"
    with Stream.new() as stream:
        stream.feed(events)
        assert [flag.rule for flag in stream.flags()] == ["repeated_pickup"]
        stream.feed([corrected, scan("x", "picked_up", 3)])
        assert stream.flags() == set()
        cleared = stream.store.sql("FROM flags").row(0, named=True)
        assert (cleared["rule"], cleared["status"]) == ("repeated_pickup", "cleared")
        assert '"picked_up_again_at":null' in cleared["evidence"]


@pytest.mark.parametrize("turned", [False, True])
def test_of_two_deliveries_at_one_moment_the_place_decides_not_the_arrival(*, turned: bool) -> None:
    scans = [scan("w", "delivered", 5, "苏州市"), scan("w", "delivered", 5, "南京市")]
    with Stream.new() as stream:
        stream.feed([paid("a", address={"city": "杭州市"}), uploaded("a", "w"), *scans[:: -1 if turned else 1]])
        evidence = stream.store.flags().filter(rule="address_mismatch")["evidence"].item()
        assert '"scan_place":"南京市"' in evidence


def test_an_exemption_of_an_order_that_only_shares_the_number_is_not_taken_for_one_of_ours() -> None:
    exempted = event("exemption_granted", DAY, order_id="b", rules=["*"])
    people = [{"name": "张三", "phone": "13800000001"}, {"name": "李四", "phone": "13800000002"}]
    events = [paid("b", recipient=people[0]), uploaded("b", "w"), exempted]
    later = [paid("a", recipient=people[1]), uploaded("a", "w", DAY + timedelta(hours=1))]
    with Stream.new() as stream:
        stream.feed(events)
        stream.feed(later)
        assert stream.flags() == judge(events + later)
        assert {(flag.order_id, flag.rule, flag.status) for flag in stream.flags()} == {("a", "waybill_reused", "open")}


def test_all_is_named_in_which_the_last_other_user_of_a_number_differs() -> None:
    people = [{"name": "张三", "phone": "13800000001"}, {"name": "李四", "phone": "13800000002"}]
    uses = (("a", 0, "苏州市"), ("b", 1, "杭州市"), ("c", 1, "杭州市"))
    with Stream.new() as stream:
        for hour, (order_id, person, city) in enumerate(uses):
            order = paid(order_id, recipient=people[person], address={"city": city})
            stream.feed([order, uploaded(order_id, "w", DAY + timedelta(hours=hour))])
        evidence = stream.store.sql("SELECT order_id, evidence FROM flags WHERE rule = 'waybill_reused' ORDER BY ALL")
        assert evidence["order_id"].to_list() == ["b", "c"]
        for text in evidence["evidence"]:
            assert '"other_order_id":"a"' in text
            assert '"differs_in":"address, name, phone"' in text


def test_places_are_compared_as_their_columns_are_whatever_is_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(comparing, "_PAIRS_MAX", 7)
    places = Places()
    columns = ("country", "province", "city", "district", "place_text", "facility", "description")
    rows = [{"country": "US" if city == "Springfield" else None, "city": city} for city in CITIES]
    ids = places.add(pl.DataFrame(rows, schema=dict.fromkeys(columns, pl.String)), scanned=True)
    ids = np.append(ids, np.int32(NONE))
    one, other = (pairs.ravel() for pairs in np.meshgrid(ids, ids))
    known = places.resolved.with_row_index("id").with_columns(pl.col("id").cast(pl.Int32))
    frame = pl.DataFrame({"one_id": one, "other_id": other})
    for what in ("one", "other"):
        frame = frame.join(
            known.select(pl.all().name.prefix(f"{what}_")), on=f"{what}_id", how="left", maintain_order="left"
        )
    expected = frame.select(lie_apart("one", "other")).to_series().to_list()
    assert {True, False, None} == set(expected)
    comparisons = Comparisons()
    for _ in range(3):
        assert comparisons.elsewhere(places, one, other).to_list() == expected
        half = len(one) // 2
        assert comparisons.elsewhere(places, one[half:], other[half:]).to_list() == expected[half:]
