"""What follows from violations: money in exact decimals, exposed parcels, inspections, and products that run out."""

from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest

from pipeline.profile_views import profile_views
from pipeline.profiles import load_profiles
from pipeline.store import Store
from tests.pipeline.store_rows import T0, at, commit, facts, flags

Row = dict[str, object]
PROFILES = load_profiles()
PAID: Row = {"type": "order_paid", "platform": "douyin", "merchant_id": "m"}


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(tmp_path / "flags.duckdb", extra_views=profile_views(PROFILES)) as store:
        yield store


def flag(number: int, rule: str, **more: object) -> Row:
    owed = {
        "late_shipment": {"compensation_percent": Decimal(5)},
        "pickup_overdue": {"compensation_percent": Decimal(5)},
    }
    owed["resend_overdue"] = {"compensation_yuan": Decimal(3)}
    return {"flag_id": str(number), "order_id": "a", "rule": rule} | owed.get(rule, {}) | more


def compensation(store: Store, amount: str | None, *flagged: Row) -> list[tuple[object, ...]]:
    store.commit(commit(facts(order_facts=[PAID | {"order_id": "a", "amount": amount}]), flags(*flagged), clock=T0))
    return store.sql("SELECT rules, by_amount, fixed, compensation FROM compensations").rows()


@pytest.mark.parametrize(
    ("amount", "yuan"),
    [("150", 8), ("150.00", 8), ("149.99", 7), ("130.00", 7), ("129.99", 6), ("9.99", 0), ("10.00", 1), ("0", 0),
     ("9999999999999999.99", 500_000_000_000_000)],
)  # fmt: skip
def test_five_percent_are_rounded_half_up_to_whole_yuan(store: Store, amount: str, yuan: int) -> None:
    assert compensation(store, amount, flag(1, "late_shipment")) == [(["late_shipment"], yuan, None, yuan)]


def test_late_shipping_and_late_pickup_of_one_order_are_compensated_once(store: Store) -> None:
    both = flag(1, "late_shipment"), flag(2, "pickup_overdue", carrier="SF", waybill_no="1")
    assert compensation(store, "150", *both) == [(["late_shipment", "pickup_overdue"], 8, None, 8)]


def test_each_overdue_resend_costs_three_yuan_besides(store: Store) -> None:
    resends = [flag(number, "resend_overdue", aftersale_id=str(number)) for number in (1, 2)]
    rows = compensation(store, "150", flag(3, "late_shipment"), *resends)
    assert rows == [(["late_shipment", "resend_overdue"], 8, 6, 14)]


def test_what_is_exempt_cleared_or_only_at_risk_is_not_owed(store: Store) -> None:
    spared = [
        flag(number, "late_shipment", status=status) for number, status in enumerate(("exempt", "cleared", "at_risk"))
    ]
    assert compensation(store, "150", *spared) == []


def test_of_an_order_of_unknown_amount_the_percentage_is_unknown_and_so_is_the_sum(store: Store) -> None:
    rows = compensation(store, None, flag(1, "late_shipment"), flag(2, "resend_overdue", aftersale_id="x"))
    assert rows == [(["late_shipment", "resend_overdue"], None, 3, None)]


def test_a_parcel_not_picked_up_48_hours_after_its_upload_is_exposed_to_a_refund(store: Store) -> None:
    orders = [PAID | {"order_id": order, "amount": "20.00"} for order in "abcd"]
    orders += [{"type": "order_cancelled", "order_id": "c", "occurred_at": at(1)}]
    orders += [PAID | {"order_id": "w", "platform": "wechat_channels"}]
    uploads = [{"order_id": order, "carrier": "SF", "waybill_no": order} for order in "abcdw"]
    refunded = {"type": "refunded", "order_id": "d", "aftersale_id": "x"}
    known = facts(
        order_facts=orders,
        uploads=uploads,
        scans=[{"carrier": "SF", "waybill_no": "b", "status": "picked_up", "occurred_at": at(60)}],
        aftersale_facts=[refunded, refunded | {"type": "aftersale_opened", "kind": "refund_only"}],
    )
    store.commit(commit(known, clock=at(48)))
    assert store.sql("FROM refund_exposure").rows() == []  # on the boundary nothing is overdue
    store.commit(commit(clock=at(49)))
    rows = store.sql("SELECT order_id, carrier, waybill_no, exposed_since, amount FROM refund_exposure").rows()
    assert rows == [("a", "SF", "a", at(48), Decimal("20.00"))]


def test_an_order_is_inspected_every_midnight_that_finds_it_late_and_the_third_bans_its_products(store: Store) -> None:
    # Noon in Shanghai: 12 hours to the first midnight.
    orders = [PAID | {"order_id": order, "products": [f"p{order}"], "occurred_at": at(-48)} for order in "abc"]
    uploads = [
        {"order_id": "a", "carrier": "SF", "waybill_no": "1", "occurred_at": at(36) - (at(1) - at(0)) / 1000},
        {"order_id": "b", "carrier": "SF", "waybill_no": "2", "occurred_at": at(60)},
    ]
    late = [flag(number, "late_shipment", order_id=order, violated_at=T0) for number, order in enumerate("abc")]
    store.commit(commit(facts(order_facts=orders, uploads=uploads), flags(*late), clock=at(70)))
    columns = "order_id, products, late_until, inspections, banned, closes_at"
    assert store.sql(f"SELECT {columns} FROM late_inspections ORDER BY order_id").rows() == [
        ("a", ["pa"], uploads[0]["occurred_at"], 1, False, None),
        ("b", ["pb"], at(60), 3, True, None),
        ("c", ["pc"], at(70), 3, True, at(-48 + 150 * 24)),
    ]


def test_more_than_ten_orders_that_could_not_be_shipped_ban_a_product(store: Store) -> None:
    orders = [PAID | {"order_id": f"o{n}", "products": ["p"] if n else ["p", "q", "p"]} for n in range(12)]
    short = [flag(n, "unable_to_ship", order_id=f"o{n}", status="exempt" if n == 11 else "open") for n in range(12)]
    store.commit(commit(facts(order_facts=orders[:10]), flags(*short[:10]), clock=T0))
    banned = "SELECT product_id, orders, orders_max, banned FROM out_of_stock_products ORDER BY product_id"
    assert store.sql(banned).rows() == [("p", 10, 10, False), ("q", 1, 10, False)]
    store.commit(commit(facts(order_facts=orders[10:]), flags(*short[10:]), clock=T0))
    assert store.sql(banned).rows() == [("p", 11, 10, True), ("q", 1, 10, False)]
